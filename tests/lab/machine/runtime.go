package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
)

// runtimeSocket is where the kubelet finds its container runtime.
const runtimeSocket = "/var/lib/containers.sock"

// containers is a container runtime for the kubelet (the Container Runtime Interface) that knows
// neither registries nor control groups: a pod is a network namespace, a container is a process with
// its own view of the file system.
type containers struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	images  images
	streams streaming.Server

	// mutex guards everything below, and the fields of sandboxes and containers that change.
	mutex      sync.Mutex
	made       int
	sandboxes  map[string]*sandbox
	containers map[string]*container
}

// sandbox is a pod's place: a process that does nothing but hold its namespaces.
type sandbox struct {
	id      string
	config  *cri.PodSandboxConfig
	created time.Time
	address string
	holder  *exec.Cmd
	stopped bool
}

func newContainers(images images) *containers {
	return &containers{images: images, sandboxes: map[string]*sandbox{}, containers: map[string]*container{}}
}

// serve answers the kubelet on a socket, and its streams (exec, attach, port-forward) on loopback.
func (c *containers) serve(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	config := streaming.DefaultConfig
	config.Addr = "127.0.0.1:10010"
	if c.streams, err = streaming.NewServer(config, streamed{c}); err != nil {
		return err
	}
	go func() { fmt.Fprintln(os.Stderr, "streams:", c.streams.Start(true)) }()
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, c)
	cri.RegisterImageServiceServer(server, c)
	go func() { fmt.Fprintln(os.Stderr, "container runtime:", server.Serve(listener)) }()
	return nil
}

// id returns a new name. The caller holds the mutex.
func (c *containers) id(kind string) string {
	c.made++
	return fmt.Sprintf("%s-%d", kind, c.made)
}

func (c *containers) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{
		Version: "0.1.0", RuntimeName: "lab", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1",
	}, nil
}

func (c *containers) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return &cri.StatusResponse{Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
		{Type: cri.RuntimeReady, Status: true}, {Type: cri.NetworkReady, Status: true},
	}}}, nil
}

func (c *containers) UpdateRuntimeConfig(context.Context, *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	return &cri.UpdateRuntimeConfigResponse{}, nil
}

func (c *containers) RunPodSandbox(_ context.Context, request *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	config := request.Config
	holder := exec.Command("sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	own := config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() != cri.NamespaceMode_NODE
	if own {
		holder.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	if err := holder.Start(); err != nil {
		return nil, err
	}
	address := nodeIP
	if own {
		var err error
		if address, err = attachPod(holder.Process.Pid); err != nil {
			_ = holder.Process.Kill()
			_ = holder.Wait()
			return nil, err
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	made := &sandbox{id: c.id("pod"), config: config, created: time.Now(), address: address, holder: holder}
	c.sandboxes[made.id] = made
	return &cri.RunPodSandboxResponse{PodSandboxId: made.id}, nil
}

func (c *containers) StopPodSandbox(ctx context.Context, request *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	for _, inside := range c.of(request.PodSandboxId) {
		c.stop(inside, 0)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if found := c.sandboxes[request.PodSandboxId]; found != nil && !found.stopped {
		found.stopped = true
		_ = found.holder.Process.Kill()
		_ = found.holder.Wait()
	}
	return &cri.StopPodSandboxResponse{}, nil
}

func (c *containers) RemovePodSandbox(ctx context.Context, request *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	if _, err := c.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: request.PodSandboxId}); err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for id, inside := range c.containers {
		if inside.sandbox.id == request.PodSandboxId {
			delete(c.containers, id)
		}
	}
	delete(c.sandboxes, request.PodSandboxId)
	return &cri.RemovePodSandboxResponse{}, nil
}

func (c *containers) PodSandboxStatus(_ context.Context, request *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	found := c.sandboxes[request.PodSandboxId]
	if found == nil {
		return nil, status.Errorf(codes.NotFound, "no pod sandbox %q", request.PodSandboxId)
	}
	options := found.config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	return &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{
		Id: found.id, Metadata: found.config.Metadata, State: found.state(), CreatedAt: found.created.UnixNano(),
		Network: &cri.PodSandboxNetworkStatus{Ip: found.address},
		Linux:   &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: options}},
		Labels:  found.config.Labels, Annotations: found.config.Annotations,
	}}, nil
}

func (c *containers) ListPodSandbox(_ context.Context, request *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	response := &cri.ListPodSandboxResponse{}
	for _, found := range c.sandboxes {
		filter := request.Filter
		if wanted := filter.GetState(); wanted != nil && wanted.State != found.state() {
			continue
		}
		if filter.GetId() != "" && filter.Id != found.id || !contains(found.config.Labels, filter.GetLabelSelector()) {
			continue
		}
		response.Items = append(response.Items, &cri.PodSandbox{
			Id: found.id, Metadata: found.config.Metadata, State: found.state(), CreatedAt: found.created.UnixNano(),
			Labels: found.config.Labels, Annotations: found.config.Annotations,
		})
	}
	return response, nil
}

func (s *sandbox) state() cri.PodSandboxState {
	if s.stopped {
		return cri.PodSandboxState_SANDBOX_NOTREADY
	}
	return cri.PodSandboxState_SANDBOX_READY
}

// contains says whether all wanted labels are there.
func contains(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func (c *containers) ImageStatus(_ context.Context, request *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	found, err := c.images.find(request.Image.Image)
	if err != nil {
		// Not an error here: the kubelet then asks to pull it.
		return &cri.ImageStatusResponse{}, nil
	}
	return &cri.ImageStatusResponse{Image: &cri.Image{
		Id: request.Image.Image, RepoTags: []string{request.Image.Image}, Size: 1,
		Uid: &cri.Int64Value{Value: found.user}, Spec: request.Image,
	}}, nil
}

func (c *containers) PullImage(_ context.Context, request *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	if _, err := c.images.find(request.Image.Image); err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	return &cri.PullImageResponse{ImageRef: request.Image.Image}, nil
}

func (c *containers) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	return &cri.ListImagesResponse{}, nil
}

func (c *containers) RemoveImage(context.Context, *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	return &cri.RemoveImageResponse{}, nil
}

func (c *containers) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	usage := []*cri.FilesystemUsage{{
		Timestamp: time.Now().UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: "/var"},
		UsedBytes: &cri.UInt64Value{}, InodesUsed: &cri.UInt64Value{},
	}}
	return &cri.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}
