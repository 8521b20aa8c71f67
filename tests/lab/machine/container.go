package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// container is a program of a pod.
type container struct {
	id       string
	sandbox  *sandbox
	config   *cri.ContainerConfig
	image    image
	created  time.Time
	started  time.Time
	finished time.Time
	exit     int32
	// process is the container's first process, once it runs.
	process int
	// ended is closed when the container has ended.
	ended  chan struct{}
	output *output
	input  io.WriteCloser
}

func (c *containers) CreateContainer(_ context.Context, request *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	image, err := c.images.find(request.Config.Image.Image)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	sandbox := c.sandboxes[request.PodSandboxId]
	if sandbox == nil || sandbox.stopped {
		return nil, status.Errorf(codes.NotFound, "no pod sandbox %q", request.PodSandboxId)
	}
	made := &container{
		id: c.id("container"), sandbox: sandbox, config: request.Config, image: image, created: time.Now(),
		ended: make(chan struct{}),
	}
	c.containers[made.id] = made
	return &cri.CreateContainerResponse{ContainerId: made.id}, nil
}

func (c *containers) StartContainer(_ context.Context, request *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	found, err := c.find(request.ContainerId)
	if err != nil {
		return nil, err
	}
	log, err := openLog(filepath.Join(found.sandbox.config.LogDirectory, found.config.LogPath))
	if err != nil {
		return nil, err
	}
	arguments, err := found.enclosed()
	if err != nil {
		return nil, err
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	command := exec.Command("nsenter", arguments...)
	command.Env = found.environment()
	command.ExtraFiles = []*os.File{tell}
	found.output = newOutput(log)
	if found.config.Tty {
		terminal, err := pty.Start(command)
		if err != nil {
			return nil, err
		}
		found.input = terminal
		found.output.copy("stdout", terminal)
	} else {
		user, _ := found.user()
		stdout, err := found.output.pipe("stdout", user)
		if err != nil {
			return nil, err
		}
		defer stdout.Close()
		stderr, err := found.output.pipe("stderr", user)
		if err != nil {
			return nil, err
		}
		defer stderr.Close()
		command.Stdout, command.Stderr = stdout, stderr
		if found.config.Stdin {
			if found.input, err = command.StdinPipe(); err != nil {
				return nil, err
			}
		}
		if err := command.Start(); err != nil {
			return nil, err
		}
	}
	_ = tell.Close()
	var information struct {
		Process int `json:"child-pid"`
	}
	if err := json.NewDecoder(told).Decode(&information); err != nil {
		_ = command.Wait()
		return nil, fmt.Errorf("%s did not start: %w", found.config.Metadata.Name, err)
	}
	c.mutex.Lock()
	found.started, found.process = time.Now(), information.Process
	c.mutex.Unlock()
	go func() {
		_ = command.Wait()
		c.mutex.Lock()
		found.finished, found.exit = time.Now(), int32(command.ProcessState.ExitCode())
		c.mutex.Unlock()
		found.output.close()
		close(found.ended)
	}()
	return &cri.StartContainerResponse{}, nil
}

// enclosed is the command line that starts the container: in the pod's namespaces, with the host's
// programs, the image's files and the pod's volumes, and nothing else.
func (c *container) enclosed() ([]string, error) {
	resolver, err := dataFile(resolverConfiguration(c.sandbox.config.DnsConfig))
	if err != nil {
		return nil, err
	}
	arguments := []string{
		"--target", strconv.Itoa(c.sandbox.holder.Process.Pid), "--net", "--uts", "--ipc", "--",
		"bwrap", "--unshare-pid", "--as-pid-1", "--info-fd", "3", "--cap-add", "ALL",
		"--ro-bind", "/usr", "/usr", "--tmpfs", "/usr/local",
		"--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin",
		"--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys",
		"--dir", "/var", "--dir", "/run", "--symlink", "../run", "/var/run",
		"--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--dir", "/var/tmp",
	}
	for _, mount := range c.mounts(resolver) {
		option := "--bind"
		if mount.Readonly {
			option = "--ro-bind"
		}
		for _, parent := range parents(mount.ContainerPath) {
			// What bwrap makes by itself on its way is for root alone.
			arguments = append(arguments, "--dir", parent)
		}
		arguments = append(arguments, option, mount.HostPath, mount.ContainerPath)
	}
	if c.config.GetLinux().GetSecurityContext().GetReadonlyRootfs() {
		arguments = append(arguments, "--remount-ro", "/")
	}
	directory := c.config.WorkingDir
	if directory == "" {
		directory = "/"
	}
	arguments = append(arguments, "--chdir", directory, "--")
	arguments = append(arguments, c.identity()...)
	command := c.config.Command
	if len(command) == 0 {
		command = c.image.entrypoint
	}
	return append(append(arguments, command...), c.config.Args...), nil
}

// mounts lists what is seen of the machine, outer before inner.
func (c *container) mounts(resolver string) []*cri.Mount {
	mounts := append([]*cri.Mount{
		{HostPath: "/etc/alternatives", ContainerPath: "/etc/alternatives", Readonly: true},
		{HostPath: "/etc/ssl", ContainerPath: "/etc/ssl", Readonly: true},
		{HostPath: resolver, ContainerPath: "/etc/resolv.conf", Readonly: true},
	}, c.config.Mounts...)
	for path, file := range c.image.files {
		mounts = append(mounts, &cri.Mount{HostPath: file, ContainerPath: path, Readonly: true})
	}
	slices.SortFunc(mounts, func(a, b *cri.Mount) int { return strings.Compare(a.ContainerPath, b.ContainerPath) })
	return mounts
}

// parents lists the directories above a path, outer before inner.
func parents(path string) []string {
	var above []string
	for parent := filepath.Dir(path); parent != "/"; parent = filepath.Dir(parent) {
		above = append(above, parent)
	}
	slices.Reverse(above)
	return above
}

// user is who the container runs as: user and group.
func (c *container) user() (int64, int64) {
	context := c.config.GetLinux().GetSecurityContext()
	user := c.image.user
	if context.GetRunAsUser() != nil {
		user = context.RunAsUser.Value
	}
	if context.GetRunAsGroup() != nil {
		return user, context.RunAsGroup.Value
	}
	return user, user
}

// identity is the command that becomes the container's user. bwrap cannot without a user namespace.
func (c *container) identity() []string {
	user, group := c.user()
	words := []string{"setpriv", fmt.Sprintf("--reuid=%d", user), fmt.Sprintf("--regid=%d", group)}
	if groups := c.config.GetLinux().GetSecurityContext().GetSupplementalGroups(); len(groups) > 0 {
		return append(words, "--groups="+strings.Trim(strings.ReplaceAll(fmt.Sprint(groups), " ", ","), "[]"), "--")
	}
	return append(words, "--clear-groups", "--")
}

func (c *container) environment() []string {
	environment := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME=" + c.sandbox.config.Hostname, "HOME=/",
	}
	for _, variable := range c.config.Envs {
		environment = append(environment, variable.Key+"="+string(variable.Value))
	}
	return environment
}

func resolverConfiguration(names *cri.DNSConfig) string {
	var text strings.Builder
	for _, server := range names.GetServers() {
		fmt.Fprintln(&text, "nameserver", server)
	}
	if len(names.GetSearches()) > 0 {
		fmt.Fprintln(&text, "search", strings.Join(names.Searches, " "))
	}
	if len(names.GetOptions()) > 0 {
		fmt.Fprintln(&text, "options", strings.Join(names.Options, " "))
	}
	return text.String()
}

// dataFile keeps a text in a file of the machine.
func dataFile(text string) (string, error) {
	file, err := os.CreateTemp("/var/tmp", "container-")
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := file.Chmod(0o644); err != nil {
		return "", err
	}
	_, err = file.WriteString(text)
	return file.Name(), err
}

func (c *containers) StopContainer(_ context.Context, request *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	if found, err := c.find(request.ContainerId); err == nil {
		c.stop(found, time.Duration(request.Timeout)*time.Second)
	}
	return &cri.StopContainerResponse{}, nil
}

// stop ends a container: politely, and after the grace period not so.
func (c *containers) stop(found *container, grace time.Duration) {
	c.mutex.Lock()
	process := found.process
	running := found.state() == cri.ContainerState_CONTAINER_RUNNING
	c.mutex.Unlock()
	if !running {
		return
	}
	if grace > 0 {
		_ = syscall.Kill(process, syscall.SIGTERM)
		select {
		case <-found.ended:
			return
		case <-time.After(grace):
		}
	}
	_ = syscall.Kill(process, syscall.SIGKILL)
	<-found.ended
}

func (c *containers) RemoveContainer(_ context.Context, request *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	if found, err := c.find(request.ContainerId); err == nil {
		c.stop(found, 0)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.containers, request.ContainerId)
	return &cri.RemoveContainerResponse{}, nil
}

func (c *containers) ListContainers(_ context.Context, request *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	response, filter := &cri.ListContainersResponse{}, request.Filter
	for _, found := range c.containers {
		if wanted := filter.GetState(); wanted != nil && wanted.State != found.state() ||
			filter.GetId() != "" && filter.Id != found.id ||
			filter.GetPodSandboxId() != "" && filter.PodSandboxId != found.sandbox.id ||
			!contains(found.config.Labels, filter.GetLabelSelector()) {
			continue
		}
		response.Containers = append(response.Containers, &cri.Container{
			Id: found.id, PodSandboxId: found.sandbox.id, Metadata: found.config.Metadata, Image: found.config.Image,
			ImageRef: found.config.Image.Image, ImageId: found.config.Image.Image, State: found.state(),
			CreatedAt: found.created.UnixNano(), Labels: found.config.Labels, Annotations: found.config.Annotations,
		})
	}
	return response, nil
}

func (c *containers) ContainerStatus(_ context.Context, request *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	found, err := c.find(request.ContainerId)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	answer := &cri.ContainerStatus{
		Id: found.id, Metadata: found.config.Metadata, State: found.state(), CreatedAt: found.created.UnixNano(),
		ExitCode: found.exit, Image: found.config.Image, ImageRef: found.config.Image.Image,
		ImageId: found.config.Image.Image, Labels: found.config.Labels, Annotations: found.config.Annotations,
		Mounts:  found.config.Mounts,
		LogPath: filepath.Join(found.sandbox.config.LogDirectory, found.config.LogPath),
	}
	if !found.started.IsZero() {
		answer.StartedAt = found.started.UnixNano()
	}
	if !found.finished.IsZero() {
		answer.FinishedAt = found.finished.UnixNano()
		answer.Reason = "Completed"
		if found.exit != 0 {
			answer.Reason = "Error"
		}
	}
	return &cri.ContainerStatusResponse{Status: answer}, nil
}

func (c *containers) UpdateContainerResources(context.Context, *cri.UpdateContainerResourcesRequest) (*cri.UpdateContainerResourcesResponse, error) {
	return &cri.UpdateContainerResourcesResponse{}, nil
}

func (c *containers) ReopenContainerLog(context.Context, *cri.ReopenContainerLogRequest) (*cri.ReopenContainerLogResponse, error) {
	return nil, errors.New("the lab does not rotate logs")
}

// state says where in its life the container is. The caller holds the mutex.
func (c *container) state() cri.ContainerState {
	switch {
	case c.started.IsZero():
		return cri.ContainerState_CONTAINER_CREATED
	case c.finished.IsZero():
		return cri.ContainerState_CONTAINER_RUNNING
	default:
		return cri.ContainerState_CONTAINER_EXITED
	}
}

func (c *containers) find(id string) (*container, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if found := c.containers[id]; found != nil {
		return found, nil
	}
	return nil, status.Errorf(codes.NotFound, "no container %q", id)
}

// of lists the containers of a pod.
func (c *containers) of(sandbox string) []*container {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var inside []*container
	for _, found := range c.containers {
		if found.sandbox.id == sandbox {
			inside = append(inside, found)
		}
	}
	return inside
}
