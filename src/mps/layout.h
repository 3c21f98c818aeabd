// Where the files of MPS lie. One directory, the root, is shared by the daemons, the device plugin
// and, in part, by the containers that are clients. Pure. Source: device-plugin contract §10.1.
#pragma once

#include <string>
#include <string_view>

namespace kerf::mps {

// Files of one resource; its name contains a slash and so makes two levels.
struct Layout {
  Layout(std::string_view root, std::string_view resource);

  std::string directory;  // <root>/nvidia.com/gpu
  std::string pipe;       // …/pipe: sockets of the daemon, mounted into its clients
  std::string log;        // …/log: control.log and server.log
  std::string started;    // …/.started: there while the daemon may be used, see gate.h
};

// <root>/.ready: there while every daemon that is wanted may be used.
std::string ready_file(std::string_view root);
// <root>/shm: a tmpfs, the /dev/shm of daemons and clients alike.
std::string shm_directory(std::string_view root);

}  // namespace kerf::mps
