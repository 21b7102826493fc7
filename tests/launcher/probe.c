/* Stands in for the runtime in the tests of the launcher: says what it was given, or ends the way it is told to. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void show(int argc, char **argv)
{
    char cwd[4096];
    for (int i = 0; i < argc; i++)
        printf("arg %s\n", argv[i]);
    for (char **item = environ; *item; item++)
        printf("env %s\n", *item);
    printf("cwd %s\n", getcwd(cwd, sizeof cwd) ? cwd : "?");
    printf("parent %d\n", (int)getppid());
}

static void got(int number)
{
    char line[] = "got 00\n";
    line[4] = (char)('0' + number / 10);
    line[5] = (char)('0' + number % 10);
    if (write(1, line, 7) != 7 || number == SIGTERM)
        _exit(7);
}

static void wait_for_signals(void)
{
    int numbers[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
    for (int i = 0; i < 6; i++)
        signal(numbers[i], got);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    for (;;)
        pause();
}

static void print_blocked(void)
{
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < 32; number++)
        if (sigismember(&blocked, number) == 1)
            printf("blocked %d\n", number);
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "show";
    const char *crash = getenv("SOLOFILE_CRASH");
    if (!strcmp(command, "exit"))
        return atoi(argv[2]);
    if (!strcmp(command, "blocked"))
        print_blocked();
    else if (!strcmp(command, "signals"))
        wait_for_signals();
    else if (!strcmp(command, "die") || (!strcmp(command, "die-once") && !crash))
        kill(getpid(), atoi(argv[2]));
    else if (!strcmp(command, "die-at-end")) {
        signal(SIGTERM, SIG_IGN);
        printf("ready %d\n", (int)getpid());
        fflush(stdout);
        sleep(1);
        abort();
    } else
        show(argc, argv);
    return 0;
}
