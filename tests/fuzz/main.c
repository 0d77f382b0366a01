/* SPDX-License-Identifier: BSD-2-Clause */
/* Gives a fuzzer the files named on the command line, so that any compiler can replay a corpus. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole file in a block of exactly its size: one octet too far is caught. */
static uint8_t *read_file(const char *path, size_t *size_out)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size;

    if (file == NULL)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0) {
        rewind(file);
        data = malloc(size == 0 ? 1 : (size_t)size);
        if (data != NULL && fread(data, 1, (size_t)size, file) != (size_t)size) {
            free(data);
            data = NULL;
        }
        *size_out = (size_t)size;
    }
    fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        size_t size;
        uint8_t *data = read_file(argv[i], &size);

        if (data == NULL) {
            perror(argv[i]);
            return 2;
        }
        printf("# %s\n", argv[i]); /* the last line seen when it never comes back */
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        printf("ok %d - %s\n", i, argv[i]);
    }
    return 0;
}
