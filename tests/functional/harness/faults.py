# SPDX-License-Identifier: BSD-2-Clause
"""Makes postern's calls on files fail, at any time: see faults.c."""
import errno
import pathlib
import struct
import subprocess

SOURCE = pathlib.Path(__file__).with_name("faults.c")
CALLS = ("open", "write", "sync", "sync directory", "link", "unlink")


class Faults:
    def __init__(self, directory):
        self._library = pathlib.Path(directory) / "faults.so"
        self._file = pathlib.Path(directory) / "faults"
        subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O2", "-o", self._library, SOURCE, "-ldl"],
                       check=True)
        self._file.write_bytes(bytes(4 * len(CALLS)))

    @property
    def environment(self):
        return {"LD_PRELOAD": str(self._library), "FAULTS": str(self._file),
                "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1:exitcode=99"}

    def set(self, call, error):
        """error: a name of errno, or None: it works again."""
        number = getattr(errno, error) if error else 0
        with open(self._file, "r+b") as file:
            file.seek(4 * CALLS.index(call))
            file.write(struct.pack("i", number))
