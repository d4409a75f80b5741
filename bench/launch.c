/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command and writes what it and its children used: `launch REPORT COMMAND ARGS...` writes
 * "user_us system_us wall_us peak_rss_kib" to REPORT and ends as the command did. It is its own small program
 * because Linux counts the memory of whoever forked into a child's peak.
 *
 * Before it starts the command it takes memory, writes to each page and gives it back. A virtual machine that reports its
 * free pages loses them to its host, and whoever takes them next waits until the host has found and zeroed others: some
 * 10 us for 4 KiB, by which 8 ms of the floor's page faults became 245. So no command pays for what its forerunner left.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_BYTES = 256 << 20, PAGE_BYTES = 4096 };

static void warm_memory(void)
{
	char *memory =
		mmap(NULL, WARM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return;
	madvise(memory, WARM_BYTES, MADV_HUGEPAGE); /* as floor and core take theirs */
	for (size_t at = 0; at < WARM_BYTES; at += PAGE_BYTES)
		((volatile char *)memory)[at] = 1;
	munmap(memory, WARM_BYTES);
}

static long long micro(struct timeval t)
{
	return t.tv_sec * 1000000ll + t.tv_usec;
}

static long long clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	struct rusage used;
	long long start;
	FILE *report;
	int status;
	pid_t child;

	if (argc < 3)
		return 125;
	warm_memory();
	start = clock_us();
	child = fork();
	if (child == 0) {
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	while (wait4(child, &status, 0, &used) < 0)
		if (errno != EINTR)
			return 125;
	report = fopen(argv[1], "w");
	if (!report)
		return 125;
	fprintf(report, "%lld %lld %lld %ld\n", micro(used.ru_utime), micro(used.ru_stime),
		clock_us() - start, used.ru_maxrss);
	fclose(report);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
