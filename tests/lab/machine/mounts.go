package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountAll makes the machine's own view of the file system, and returns the directory for what lives
// as long as the machine. That, and all that is written below /var, is in memory and not seen outside;
// elsewhere, only the lab's own directory can be written to. No kernel setting of the host can be
// changed: what the kubelet would set (setupKernelTunables) it finds as it wants it.
func mountAll(directory string) (string, error) {
	state := filepath.Join(directory, "state")
	upper, work := filepath.Join(state, "upper"), filepath.Join(state, "work")
	mounts := []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{directory, directory, "", unix.MS_BIND, ""},
		{"", "/", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"/proc/sys/kernel", "/proc/sys/kernel", "", unix.MS_BIND, ""},
		{"", "/proc/sys/kernel", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""},
		{"/proc/sys/vm", "/proc/sys/vm", "", unix.MS_BIND, ""},
		{"", "/proc/sys/vm", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""},
		{"tmpfs", state, "tmpfs", 0, ""},
		{"overlay", "/var", "overlay", 0, "lowerdir=/var,upperdir=" + upper + ",workdir=" + work},
	}
	settings := map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return "", err
	}
	for _, mount := range mounts {
		if mount.kind == "overlay" {
			for _, made := range []string{upper, work} {
				if err := os.Mkdir(made, 0o755); err != nil {
					return "", err
				}
			}
		}
		if err := unix.Mount(mount.source, mount.target, mount.kind, mount.flags, mount.data); err != nil {
			return "", &os.PathError{Op: "mount", Path: mount.target, Err: err}
		}
	}
	for setting, value := range settings {
		file := filepath.Join(state, filepath.Base(setting))
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return "", err
		}
		target := filepath.Join("/proc/sys", setting)
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return "", &os.PathError{Op: "mount", Path: target, Err: err}
		}
	}
	return state, nil
}
