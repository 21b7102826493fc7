/* Says what Windows finds of a program's resources: its version information, its icon and its application manifest. */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int wmain(int argc, wchar_t **argv)
{
    DWORD ignored, size = argc > 1 ? GetFileVersionInfoSizeW(argv[1], &ignored) : 0;
    void *info = malloc(size + 1);
    if (!size || !GetFileVersionInfoW(argv[1], 0, size, info))
        return 1;
    const wchar_t *names[] = {L"FileDescription", L"ProductName", L"FileVersion", L"OriginalFilename"};
    for (int i = 0; i < 4; i++) {
        wchar_t path[100], *text;
        UINT length;
        char line[1000];
        swprintf(path, 100, L"\\StringFileInfo\\040904b0\\%ls", names[i]);
        if (!VerQueryValueW(info, path, (void **)&text, &length))
            return 2;
        WideCharToMultiByte(CP_UTF8, 0, text, -1, line, sizeof line, NULL, NULL);
        printf("%ls=%s\n", names[i], line);
    }
    VS_FIXEDFILEINFO *fixed;
    UINT length;
    if (!VerQueryValueW(info, L"\\", (void **)&fixed, &length))
        return 3;
    printf("fixed=%lu.%lu\n", fixed->dwFileVersionMS >> 16, fixed->dwFileVersionMS & 0xffff);
    HMODULE module = LoadLibraryExW(argv[1], NULL, LOAD_LIBRARY_AS_DATAFILE);
    HRSRC group = FindResourceW(module, MAKEINTRESOURCEW(1), (LPCWSTR)RT_GROUP_ICON);
    HRSRC manifest = FindResourceW(module, MAKEINTRESOURCEW(1), (LPCWSTR)RT_MANIFEST);
    printf("icon=%lu manifest=%d\n", group ? SizeofResource(module, group) : 0, manifest != NULL);
    return 0;
}
