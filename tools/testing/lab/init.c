// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PID 1 of the lab's VM: loads what the root needs, mounts it, runs the session
 * script, sends its output and its exit code out over virtio-serial, and turns
 * the VM off.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SESSION		"/src/tools/testing/lab/session"
#define OUTPUT_PORT	"/dev/vport0p1"
#define RESULT_PORT	"/dev/vport0p2"
#define CONSOLE		"/dev/hvc0"

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void die(const char *what)
{
	printf("lab: %s: %s\n", what, strerror(errno));
	power_off();
}

static void mount_at(const char *source, const char *target, const char *type,
		     unsigned long flags, const char *options)
{
	if (mkdir(target, 0755) && errno != EEXIST)
		die(target);
	if (mount(source, target, type, flags, options))
		die(target);
}

static void load_modules(void)
{
	char path[256];
	FILE *list;
	int fd;

	list = fopen("/modules", "r");
	if (!list)
		die("/modules");
	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = 0;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die(path);
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			die(path);
		close(fd);
	}
	fclose(list);
}

static void mount_9p(const char *tag, const char *target, unsigned long flags,
		     const char *cache)
{
	char options[128];

	snprintf(options, sizeof(options),
		 "trans=virtio,version=9p2000.L,msize=512000,cache=%s", cache);
	mount_at(tag, target, "9p", flags, options);
}

/* The file system that all runs share is never written: a tmpfs lies over it. */
static void mount_root(void)
{
	mount_9p("root", "/lower", MS_RDONLY, "loose");
	mount_at("tmpfs", "/cow", "tmpfs", 0, NULL);
	if (mkdir("/cow/upper", 0755) || mkdir("/cow/work", 0755))
		die("/cow");
	mount_at("overlay", "/root", "overlay", 0,
		 "lowerdir=/lower,upperdir=/cow/upper,workdir=/cow/work");
	mount_at("/dev", "/root/dev", NULL, MS_MOVE, NULL);
	mount_at("proc", "/root/proc", "proc", 0, NULL);
	mount_at("sysfs", "/root/sys", "sysfs", 0, NULL);
	mount_9p("src", "/root/src", MS_RDONLY, "mmap");
	mount_9p("build", "/root/build", MS_RDONLY, "mmap");
	mount_9p("out", "/root/out", 0, "none");
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/"))
		die("/root");

	mount_at("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666");
	mount_at("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
	mount_at("tmpfs", "/run", "tmpfs", 0, "mode=0755");
	mount_at("tmpfs", "/tmp", "tmpfs", 0, NULL);
	mount_at("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount_at("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

static void session(int in, int out)
{
	static char *const env[] = {
		"PATH=/build/lab:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LC_ALL=C.UTF-8", NULL
	};
	static char *const argv[] = { "bash", SESSION, NULL };

	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	setsid();
	ioctl(STDIN_FILENO, TIOCSCTTY, 0);
	execve("/bin/bash", argv, env);
	die("bash");
}

static void copy(int from, int to)
{
	char buf[4096];
	ssize_t n, done, w;

	while ((n = read(from, buf, sizeof(buf))) > 0) {
		for (done = 0; done < n; done += w) {
			w = write(to, buf + done, n - done);
			if (w <= 0)
				_exit(1);
		}
	}
	_exit(0);
}

static pid_t start_on_console(void)
{
	int fd = open(CONSOLE, O_RDWR | O_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		return 0;
	pid = fork();
	if (!pid)
		session(fd, fd);
	close(fd);
	return pid;
}

/*
 * A port can be opened once only, so programs that reopen /dev/stdout need a
 * pipe in between.
 */
static pid_t start_on_port(pid_t *copier)
{
	int port, null, fds[2];
	pid_t pid;

	port = open(OUTPUT_PORT, O_WRONLY | O_CLOEXEC);
	if (port < 0)
		die(OUTPUT_PORT);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || pipe2(fds, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (!pid)
		session(null, fds[1]);
	*copier = fork();
	if (!*copier) {
		close(fds[1]);
		copy(fds[0], port);
	}
	close(fds[0]);
	close(fds[1]);
	close(null);
	close(port);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;
	pid_t got;

	do {
		got = wait(&status);
	} while (got != pid && (got > 0 || errno == EINTR));
	if (got != pid)
		return 255;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What the session left in the background may hold the pipe open for ever. */
static void drain(pid_t copier)
{
	int i;

	for (i = 0; i < 40; i++) {
		if (waitpid(copier, NULL, WNOHANG) == copier)
			return;
		usleep(50000);
	}
}

static void report(int code)
{
	int fd = open(RESULT_PORT, O_WRONLY);

	if (fd < 0)
		die(RESULT_PORT);
	dprintf(fd, "exit %d\n", code);
	close(fd);
}

int main(void)
{
	pid_t pid, copier = 0;
	int code;

	mount_at("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	setlinebuf(stdout);
	load_modules();
	mount_root();

	pid = start_on_console();
	if (!pid)
		pid = start_on_port(&copier);
	code = wait_for(pid);
	if (copier > 0)
		drain(copier);
	report(code);
	power_off();
}
