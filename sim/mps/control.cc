// A stand-in for NVIDIA's nvidia-cuda-mps-control: daemon (-f, -d) and the client that pipes
// commands to it, through a socket in CUDA_MPS_PIPE_DIRECTORY. It keeps the defaults that it is
// told and serves no GPU. Words in the file mps-sim.faults beside the program make it misbehave,
// each read when it matters:
//   die-at-start   the daemon ends at once, with a line in its log
//   hang           the daemon takes commands and does not answer
//   refuse-quit    `quit` fails and the daemon stays
//   refuse-limits  set_default_… fails
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

std::string pipe_directory() {
  const char* given = std::getenv("CUDA_MPS_PIPE_DIRECTORY");
  return given != nullptr ? given : "/tmp/nvidia-mps";
}

std::string log_directory() {
  const char* given = std::getenv("CUDA_MPS_LOG_DIRECTORY");
  return given != nullptr ? given : "/var/log/nvidia-mps";
}

bool has_fault(const std::string& program, const std::string& word) {
  std::ifstream file(program.substr(0, program.rfind('/') + 1) + "mps-sim.faults");
  for (std::string each; file >> each;) {
    if (each == word) return true;
  }
  return false;
}

void write_log(const std::string& line) {
  std::ofstream(log_directory() + "/control.log", std::ios::app) << line << '\n';
}

bool fill_address(sockaddr_un& address, const std::string& directory) {
  address.sun_family = AF_UNIX;
  const std::string path = directory + "/control";
  if (path.size() >= sizeof address.sun_path) return false;
  std::strcpy(address.sun_path, path.c_str());
  return true;
}

// The answer to one command; its first character says whether it succeeded.
class Daemon {
 public:
  explicit Daemon(std::string program) : program_(std::move(program)) {}

  std::string answer(const std::string& line) {
    std::istringstream words(line);
    std::string command, first, second;
    words >> command >> first >> second;
    write_log("command: " + line);
    if (has_fault(program_, "refuse-limits") && command.starts_with("set_")) return "-refused\n";
    if (command == "get_default_active_thread_percentage") return "+" + threads_ + "\n";
    if (command == "set_default_active_thread_percentage") {
      const double value = std::atof(first.c_str());
      if (value <= 0 || value > 100) return "-Invalid percentage\n";
      threads_ = first + ".0";
      return "+\n";
    }
    if (command == "set_default_device_pinned_mem_limit") {
      memory_[first] = second;
      return "+\n";
    }
    if (command == "get_default_device_pinned_mem_limit") return "+" + memory_[first] + "\n";
    if (command == "get_server_list") return "+\n";
    if (command != "quit") return "-Unknown command\n";
    if (has_fault(program_, "refuse-quit")) return "-cannot quit\n";
    quits_ = true;
    return "+\n";
  }
  bool quits() const { return quits_; }

 private:
  std::string program_;
  std::string threads_ = "100.0";
  std::map<std::string, std::string> memory_;
  bool quits_ = false;
};

int serve(const std::string& program) {
  if (has_fault(program, "die-at-start")) {
    write_log("Failed to start : no such device");
    return 1;
  }
  sockaddr_un address{};
  if (!fill_address(address, pipe_directory())) return 1;
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(address.sun_path);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 16) != 0) {
    std::perror("cannot listen");
    return 1;
  }
  std::ofstream(pipe_directory() + "/nvidia-cuda-mps-control.pid") << getpid() << '\n';
  write_log("Start");
  for (char** each = environ; *each != nullptr; ++each) write_log(std::string("env: ") + *each);
  std::cout << "listening" << std::endl;
  Daemon daemon(program);
  while (!daemon.quits()) {
    const int client = accept(listener, nullptr, nullptr);
    if (client < 0) continue;
    std::string line;
    for (char c = 0; read(client, &c, 1) == 1 && c != '\n';) line.push_back(c);
    // A hung daemon keeps its clients waiting, and this one for good.
    while (has_fault(program, "hang")) pause();
    const std::string answer = daemon.answer(line);
    [[maybe_unused]] ssize_t sent = send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
    close(client);
  }
  unlink(address.sun_path);
  unlink((pipe_directory() + "/nvidia-cuda-mps-control.pid").c_str());
  write_log("Exit");
  return 0;
}

int ask(const std::string& line) {
  sockaddr_un address{};
  const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (!fill_address(address, pipe_directory()) ||
      connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::cout << "Cannot find MPS control daemon process\n";
    return 1;
  }
  const std::string request = line + "\n";
  if (send(server, request.data(), request.size(), MSG_NOSIGNAL) < 0) return 1;
  std::string answer;
  for (char c = 0; read(server, &c, 1) == 1;) answer.push_back(c);
  close(server);
  if (answer.empty()) return 1;
  if (answer.size() > 2) std::cout << answer.substr(1);
  return answer[0] == '+' ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string option = argc > 1 ? argv[1] : "";
  if (option == "-f") return serve(argv[0]);
  if (option == "-d") return daemon(1, 0) == 0 ? serve(argv[0]) : 1;
  int status = 0;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty()) status = ask(line);
  }
  return status;
}
