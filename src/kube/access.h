// Where the API server is and how we prove to it who we are: as mounted into a pod, or as a
// kubeconfig file says. Reads files; opens no connection.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/roots.h"

namespace kerf::kube {

using Env = std::map<std::string, std::string, std::less<>>;

// Something that is either written down or in a file. A file is read anew for every connection (a
// token: every minute and when it was refused), so that rotation is followed.
struct Material {
  std::string text;
  std::string file;  // wins over `text` unless empty
  bool empty() const { return text.empty() && file.empty(); }
  // The text. kNotFound, kDenied, kInvalid (empty or too large) with the file as subject. "" for an
  // empty Material.
  Result<std::string> read() const;
  bool operator==(const Material&) const = default;
};

struct Access {
  std::string host;  // name or IP address, the latter without brackets
  std::uint16_t port = 443;
  std::string base_path;        // "" or "/k8s/clusters/c-1", without trailing slash
  std::string server_name;      // name the server's certificate must carry; empty: `host`
  Material ca;                  // PEM; the only roots that are trusted
  Material token;               // bearer token; may be empty
  Material client_certificate;  // PEM chain; both or neither
  Material client_key;          // PEM
  std::string name_space;       // of the pod or of the kubeconfig's context; "default" if unknown

  // "https://10.96.0.1:443/base", for people.
  std::string url() const;
  bool operator==(const Access&) const = default;
};

// As mounted into a pod: KUBERNETES_SERVICE_HOST and _PORT from `env`, token, ca.crt and namespace
// from /var/run/secrets/kubernetes.io/serviceaccount under `roots`.
// Errors: kNotFound when this is no pod or its service account is not mounted; the hint says how to
// mount it.
Result<Access> in_cluster(const Env& env, const Roots& roots);

// A kubeconfig's current context. Understood: server, tls-server-name,
// certificate-authority(-data), client-certificate(-data), client-key(-data), token, tokenFile,
// namespace. Relative paths are relative to `file`'s directory. Errors (subject: file, or file and
// field): kInvalid, kNotFound; kUnsupported for exec and auth-provider plugins, user name and
// password, proxies, plain http and insecure-skip-tls-verify, each with what to use instead.
Result<Access> from_kubeconfig(std::string_view text, const std::string& file);

// from_kubeconfig() of that file, or in_cluster() when `kubeconfig` is empty.
Result<Access> find_access(const std::string& kubeconfig, const Env& env, const Roots& roots);

}  // namespace kerf::kube
