/*
 * The kernel of a peer whose transforms strongSwan's own ESP has not: LD_PRELOAD for its daemon.
 *
 * A kernel without ESP refuses every SA, and the daemon then throws the Child SA away. Here such refusals become success, and each SA that
 * the daemon adds or completes (XFRM_MSG_NEWSA, XFRM_MSG_UPDSA) is appended to the file $NULL_KERNEL_SAS as one line of hex, keys and all,
 * from which the script esp beside this file moves packets.
 *
 *     cc -shared -fPIC -O2 -o shim.so shim.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static int is_xfrm(int fd)
{
	int value = 0, saved = errno;
	socklen_t len = sizeof(value);
	int yes = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len) == 0 && value == AF_NETLINK;

	len = sizeof(value);
	yes = yes && getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len) == 0 && value == NETLINK_XFRM;
	errno = saved;
	return yes;
}

static void note(int fd, const void *buf, size_t len)
{
	const struct nlmsghdr *header = buf;
	const char *path = getenv("NULL_KERNEL_SAS");

	if (!path || len < sizeof(*header) || !is_xfrm(fd) ||
	    (header->nlmsg_type != XFRM_MSG_NEWSA && header->nlmsg_type != XFRM_MSG_UPDSA))
		return;
	FILE *f = fopen(path, "a");
	if (!f)
		return;
	for (size_t i = 0; i < len; i++)
		fprintf(f, "%02x", ((const unsigned char *)buf)[i]);
	fputc('\n', f);
	fclose(f);
}

static void mend(int fd, void *buf, ssize_t n)
{
	struct nlmsghdr *header = buf;

	if (n < (ssize_t)sizeof(*header) || !is_xfrm(fd))
		return;
	for (int len = (int)n; NLMSG_OK(header, (unsigned)len); header = NLMSG_NEXT(header, len)) {
		struct nlmsgerr *answer = NLMSG_DATA(header);

		if (header->nlmsg_type == XFRM_MSG_EXPIRE) /* of an SPI whose SA never came */
			header->nlmsg_type = NLMSG_NOOP;
		else if (header->nlmsg_type == NLMSG_ERROR && header->nlmsg_len >= NLMSG_LENGTH(sizeof(*answer)) &&
			 answer->msg.nlmsg_type != XFRM_MSG_GETSA &&
			 (answer->error == -ENOSYS || answer->error == -ESRCH || answer->error == -EPROTONOSUPPORT || answer->error == -ENOENT))
			answer->error = 0;
	}
}

#define REAL(type, name, ...) \
	static type (*real)(__VA_ARGS__); \
	if (!real) \
		*(void **)&real = dlsym(RTLD_NEXT, name)

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	REAL(ssize_t, "send", int, const void *, size_t, int);
	note(fd, buf, len);
	return real(fd, buf, len, flags);
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	REAL(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	note(fd, buf, len);
	return real(fd, buf, len, flags, to, to_len);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	REAL(ssize_t, "recv", int, void *, size_t, int);
	ssize_t n = real(fd, buf, len, flags);

	mend(fd, buf, n);
	return n;
}

ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len)
{
	REAL(ssize_t, "recvfrom", int, void *, size_t, int, struct sockaddr *, socklen_t *);
	ssize_t n = real(fd, buf, len, flags, from, from_len);

	mend(fd, buf, n);
	return n;
}

/* What fortified builds call. */
ssize_t __recv_chk(int fd, void *buf, size_t len, size_t size, int flags)
{
	(void)size;
	return recv(fd, buf, len, flags);
}

ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t size, int flags, struct sockaddr *from, socklen_t *from_len)
{
	(void)size;
	return recvfrom(fd, buf, len, flags, from, from_len);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	REAL(ssize_t, "recvmsg", int, struct msghdr *, int);
	ssize_t n = real(fd, message, flags);

	if (n > 0 && message->msg_iovlen == 1)
		mend(fd, message->msg_iov[0].iov_base, n);
	return n;
}
