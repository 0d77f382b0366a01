# SPDX-License-Identifier: BSD-2-Clause
"""Makes postern's calls on files fail, or hang, at any time: see faults.c."""
import errno
import pathlib
import struct
import subprocess
import time

SOURCE = pathlib.Path(__file__).with_name("faults.c")
CALLS = ("open", "write", "sync", "sync directory", "link", "unlink", "rename", "read", "read much",
         "IPv6 socket")
HANG = -1


class Faults:
    """within: where a call names a path, it fails only if the path holds this text."""

    def __init__(self, directory, within=None):
        self._within = within
        self._library = pathlib.Path(directory) / "faults.so"
        self._file = pathlib.Path(directory) / "faults"
        subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O2", "-o", self._library, SOURCE, "-ldl"],
                       check=True)
        self._file.write_bytes(bytes(4 * (len(CALLS) + 1)))

    @property
    def environment(self):
        within = {"FAULTS_IN": self._within} if self._within else {}
        return {"LD_PRELOAD": str(self._library), "FAULTS": str(self._file), **within,
                "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1:exitcode=99"}

    def set(self, call, error):
        """error: a name of errno; HANG: until something else is set; None: it works again."""
        number = error if error == HANG else getattr(errno, error) if error else 0
        with open(self._file, "r+b") as file:
            file.seek(4 * CALLS.index(call))
            file.write(struct.pack("i", number))

    def wait_hanging(self, count, timeout_s=20.0):
        """Until so many calls hang."""
        end = time.monotonic() + timeout_s
        while self._hanging() < count:
            assert time.monotonic() < end, f"{self._hanging()} calls hang, not {count}"
            time.sleep(0.01)

    def _hanging(self):
        return struct.unpack_from("i", self._file.read_bytes(), 4 * len(CALLS))[0]
