#include "kube/access.h"

#include <array>
#include <cctype>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/strings.h"

#include <yaml-cpp/yaml.h>

namespace kerf::kube {
namespace {

constexpr std::size_t kMaxMaterial = 1 << 20;

// RFC 4648 with line breaks; nullopt when it is something else.
std::optional<std::string> base64(std::string_view text) {
  std::string out;
  unsigned bits = 0;
  unsigned held = 0;
  bool padded = false;
  for (char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    if (c == '=') {
      padded = true;
      continue;
    }
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos || padded) return {};
    held = held << 6 | static_cast<unsigned>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<char>(held >> bits & 0xff));
    }
  }
  return out;
}

struct Url {
  std::string host;
  std::uint16_t port = 443;
  std::string path;
};

std::optional<Url> parse_https(std::string_view text) {
  constexpr std::string_view kScheme = "https://";
  if (!to_lower(text.substr(0, kScheme.size())).starts_with(kScheme)) return {};
  text.remove_prefix(kScheme.size());
  Url url;
  std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    url.path = text.substr(slash);
    while (url.path.ends_with('/')) url.path.pop_back();
  }
  std::string_view authority = text.substr(0, slash);
  std::string_view port;
  if (authority.starts_with('[')) {
    std::size_t end = authority.find(']');
    if (end == std::string_view::npos) return {};
    url.host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
  } else {
    std::size_t colon = authority.find(':');
    url.host = authority.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
  }
  bool odd = url.host.empty();
  for (std::string_view part : {std::string_view(url.host), std::string_view(url.path)}) {
    for (char c : part) {
      odd |= std::isgraph(static_cast<unsigned char>(c)) == 0 ||
             std::string_view("@?#\\\"<>").find(c) != std::string_view::npos;
    }
  }
  if (odd) return {};
  if (!port.empty()) {
    std::optional<std::uint64_t> number =
        port.starts_with(':') ? parse_u64(port.substr(1)) : std::nullopt;
    if (!number || *number == 0 || *number > 65535) return {};
    url.port = static_cast<std::uint16_t>(*number);
  }
  return url;
}

// Reads a kubeconfig. Its helpers note the first trouble and go on with nothing.
class Kubeconfig {
 public:
  explicit Kubeconfig(std::string file) : file_(std::move(file)) {}

  Result<Access> read(std::string_view text) {
    YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) {
      return fail(Kind::kInvalid, "is no kubeconfig", file_, "it must be a mapping");
    }
    std::string current = scalar(root, "current-context", "current-context");
    if (current.empty()) {
      return fail(Kind::kInvalid, "has no current-context", file_,
                  "choose one: kubectl config use-context NAME");
    }
    YAML::Node context = entry(root, "contexts", "context", current);
    YAML::Node cluster =
        entry(root, "clusters", "cluster", scalar(context, "cluster", "context.cluster"));
    std::string user_name = scalar(context, "user", "context.user");
    YAML::Node user = user_name.empty() ? YAML::Node() : entry(root, "users", "user", user_name);
    Access access;
    access.name_space = scalar(context, "namespace", "context.namespace");
    if (access.name_space.empty()) access.name_space = "default";
    read_cluster(cluster, access);
    read_user(user, access);
    if (trouble_) return fail(std::move(*trouble_));
    return access;
  }

 private:
  void note(Kind kind, std::string what, std::string_view field, std::string hint) {
    if (trouble_) return;
    trouble_ = Error{kind, std::move(what), file_ + ": " + std::string(field), std::move(hint)};
  }

  std::string scalar(const YAML::Node& node, const char* key, std::string_view field) {
    if (!node || !node.IsMap() || !node[key] || node[key].IsNull()) return {};
    if (node[key].IsScalar()) return node[key].Scalar();
    note(Kind::kInvalid, "is not a text", field, "write a plain value");
    return {};
  }

  // The entry called `name` in a list like contexts: [{name: …, context: {…}}].
  YAML::Node entry(const YAML::Node& root, const char* list, const char* kind,
                   const std::string& name) {
    if (root[list] && root[list].IsSequence()) {
      for (const YAML::Node& item : root[list]) {
        if (scalar(item, "name", list) == name && item[kind] && item[kind].IsMap()) {
          return item[kind];
        }
      }
    }
    note(Kind::kInvalid, "has no " + std::string(kind) + " '" + name + "'", list,
         "add it, or choose another context");
    return {};
  }

  // `key` names a file, `key`-data holds the same in base64.
  Material material(const YAML::Node& node, const std::string& key) {
    std::string data = scalar(node, (key + "-data").c_str(), key + "-data");
    if (!data.empty()) {
      std::optional<std::string> text = base64(data);
      if (!text || text->empty()) {
        note(Kind::kInvalid, "is not base64", key + "-data", "encode it with base64 -w0");
        return {};
      }
      return {*text, {}};
    }
    return {{}, beside(scalar(node, key.c_str(), key))};
  }

  std::string beside(const std::string& path) const {
    if (path.empty() || path.starts_with('/')) return path;
    return (std::filesystem::path(file_).parent_path() / path).string();
  }

  void refuse(const YAML::Node& node, const char* key, const char* hint) {
    if (!node || !node.IsMap() || !node[key]) return;
    if (node[key].IsScalar() && (node[key].Scalar() == "false" || node[key].Scalar().empty())) {
      return;
    }
    note(Kind::kUnsupported, std::string(key) + " is not supported", key, hint);
  }

  void read_cluster(const YAML::Node& node, Access& access) {
    refuse(node, "insecure-skip-tls-verify", "give the cluster's CA by certificate-authority");
    refuse(node, "proxy-url", "connect to the API server directly");
    std::string server = scalar(node, "server", "cluster.server");
    std::optional<Url> url = parse_https(server);
    if (!url) {
      bool plain = server.starts_with("http://");
      note(plain ? Kind::kUnsupported : Kind::kInvalid,
           plain ? "is not encrypted" : "is not the URL of a server", "cluster.server",
           "write https://HOST:PORT");
      return;
    }
    access.host = url->host;
    access.port = url->port;
    access.base_path = url->path;
    access.server_name = scalar(node, "tls-server-name", "cluster.tls-server-name");
    access.ca = material(node, "certificate-authority");
    if (access.ca.empty()) {
      note(Kind::kInvalid, "no CA is given", "cluster.certificate-authority",
           "add certificate-authority or certificate-authority-data; the machine's own are not "
           "used");
    }
  }

  void read_user(const YAML::Node& node, Access& access) {
    refuse(node, "exec", "use a token, a tokenFile or a client certificate");
    refuse(node, "auth-provider", "use a token, a tokenFile or a client certificate");
    refuse(node, "username", "use a token, a tokenFile or a client certificate");
    access.token.text = scalar(node, "token", "user.token");
    access.token.file = beside(scalar(node, "tokenFile", "user.tokenFile"));
    access.client_certificate = material(node, "client-certificate");
    access.client_key = material(node, "client-key");
    if (access.client_certificate.empty() != access.client_key.empty()) {
      note(Kind::kInvalid, "client certificate and key belong together", "user.client-certificate",
           "give both client-certificate and client-key");
    }
  }

  std::string file_;
  std::optional<Error> trouble_;
};

}  // namespace

Result<std::string> Material::read() const {
  if (file.empty()) return text;
  Result<std::string> content = read_file(file, kMaxMaterial);
  if (content && trim(*content).empty()) return fail(Kind::kInvalid, "file is empty", file);
  return content;
}

std::string Access::url() const {
  std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return "https://" + name + ":" + std::to_string(port) + base_path;
}

Result<Access> in_cluster(const Env& env, const Roots& roots) {
  auto host = env.find("KUBERNETES_SERVICE_HOST");
  auto port = env.find("KUBERNETES_SERVICE_PORT");
  if (host == env.end() || host->second.empty()) {
    return fail(Kind::kNotFound, "no API server is known", "KUBERNETES_SERVICE_HOST",
                "run in a pod, or give a kubeconfig by --kubeconfig (KUBECONFIG)");
  }
  Access access;
  access.host = host->second;
  std::optional<std::uint64_t> number =
      port == env.end() ? std::optional<std::uint64_t>(443) : parse_u64(port->second);
  if (!number || *number == 0 || *number > 65535) {
    return fail(Kind::kInvalid, "is not a port", "KUBERNETES_SERVICE_PORT", "write 1 to 65535");
  }
  access.port = static_cast<std::uint16_t>(*number);
  std::string mount = join_path(roots.var, "run/secrets/kubernetes.io/serviceaccount");
  access.ca.file = join_path(mount, "ca.crt");
  access.token.file = join_path(mount, "token");
  constexpr const char* kRemedy =
      "mount a service account: automountServiceAccountToken: true in the pod's specification";
  for (const Material* each : {&access.ca, &access.token}) {
    if (Result<std::string> text = each->read(); !text) {
      Error error = std::move(text.error());
      error.hint = kRemedy;
      return fail(std::move(error).during("no access to the API server"));
    }
  }
  Result<std::string> name_space = read_file(join_path(mount, "namespace"), 1024);
  access.name_space = name_space ? std::string(trim(*name_space)) : "default";
  return access;
}

Result<Access> from_kubeconfig(std::string_view text, const std::string& file) {
  try {
    return Kubeconfig(file).read(text);
  } catch (const YAML::Exception& wrong) {
    return fail(Kind::kInvalid, "is not YAML: " + std::string(wrong.msg),
                file + ":" + std::to_string(wrong.mark.line + 1), "correct it");
  }
}

Result<Access> find_access(const std::string& kubeconfig, const Env& env, const Roots& roots) {
  if (kubeconfig.empty()) return in_cluster(env, roots);
  Result<std::string> text = read_file(kubeconfig);
  if (!text) {
    Error error = std::move(text.error());
    error.hint = "check --kubeconfig (KUBECONFIG)";
    return fail(std::move(error).during("no access to the API server"));
  }
  return from_kubeconfig(*text, kubeconfig);
}

}  // namespace kerf::kube
