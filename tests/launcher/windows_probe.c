/* Stands in for the runtime in the tests of Windows' launcher: says what it was given, or ends the way it is told to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static void put(const wchar_t *word, const wchar_t *text)
{
    char line[16384];
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, line, sizeof line, NULL, NULL);
    if (size > 0)
        printf("%ls %s\n", word, line);
}

static void show(int argc, wchar_t **argv)
{
    wchar_t folder[4096], *environment = GetEnvironmentStringsW();
    for (int i = 0; i < argc; i++)
        put(L"arg", argv[i]);
    for (wchar_t *item = environment; *item; item += wcslen(item) + 1)
        put(L"env", item);
    if (GetCurrentDirectoryW(4096, folder))
        put(L"cwd", folder);
}

int wmain(int argc, wchar_t **argv)
{
    const wchar_t *command = argc > 1 ? argv[1] : L"show";
    const int again = GetEnvironmentVariableW(L"SOLOFILE_CRASH", NULL, 0) > 0;
    if (!wcscmp(command, L"exit"))
        return _wtoi(argv[2]);
    if (!wcscmp(command, L"die") || (!wcscmp(command, L"die-once") && !again))
        TerminateProcess(GetCurrentProcess(), wcstoul(argv[2], NULL, 16));
    if (!wcscmp(command, L"touch") && !again)
        *(volatile int *)8 = 1;
    if (!wcscmp(command, L"wait")) {
        printf("ready %lu\n", GetCurrentProcessId());
        fflush(stdout);
        Sleep(60000);
        return 0;
    }
    show(argc, argv);
    return 0;
}
