"""A place from which nothing escapes: process and mount namespaces.

inside() runs a function as their first process. When it ends,
however it ends, the kernel kills all that it started and takes down its mounts
and network namespaces, so that an interrupted run leaves nothing behind."""
import ctypes
import os
import signal
import subprocess
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def command(*words, **options):
    """Run a tool; RuntimeError with its words when it fails."""
    out = subprocess.run(words, capture_output=True, text=True, timeout=60,
                         check=False, **options)
    if out.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: "
                           f"{(out.stderr or out.stdout).strip()}")
    return out.stdout


def missing():
    """Why this machine cannot run it; empty: it can."""
    if os.geteuid() != 0:
        return "needs root: it makes namespaces, mounts and devices"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun (the kernel's TUN device)"
    for tool in ("ip", "mount", "umount", "nsenter"):
        if subprocess.run(["which", tool], capture_output=True,
                          check=False).returncode != 0:
            return f"needs the tool '{tool}': deploy/setup.sh installs it"
    return ""


def libc_call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def interrupted(*_):
    """The first time; some senders say it twice, to process and group."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def settle():
    """In the first process: its parent's death is its own."""
    libc_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc_call("unshare", CLONE_NEWNS)
    for number in ENDING:
        signal.signal(number, interrupted)
    command("mount", "--make-rprivate", "/")
    command("mount", "-t", "proc", "proc", "/proc")
    os.makedirs("/run/netns", exist_ok=True)
    command("mount", "-t", "tmpfs", "tmpfs", "/run/netns")


def inside(function):
    """The exit code of FUNCTION(), run in there."""
    libc_call("unshare", CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            settle()
            code = function()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = 130
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    # A terminal sends control-C to both; others only to the parent.
    for number in ENDING:
        signal.signal(number, lambda got, _: os.kill(child, got))
    while True:
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        if os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
