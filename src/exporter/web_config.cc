#include "exporter/web_config.h"

#include <algorithm>
#include <array>
#include <crypt.h>
#include <memory>
#include <set>
#include <utility>

#include "base/roots.h"
#include "base/strings.h"

#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

namespace kerf::exporter {
namespace {

// A name that nobody has costs as much time as one with a wrong password.
constexpr const char* kNobody = "$2y$10$.6QBtUlxaOB10hLODrnOHuVHbY08LPnr6SkTFBAyoxLmM79doSIH2";
constexpr std::size_t kRemembered = 64;

Unexpected refuse(const std::string& file, std::string_view field, std::string what,
                  std::string hint) {
  return fail(Kind::kInvalid, std::move(what),
              field.empty() ? file : file + ": " + std::string(field), std::move(hint));
}

std::string beside(const std::string& file, const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  const std::size_t slash = file.rfind('/');
  return slash == std::string::npos ? path : join_path(file.substr(0, slash), path);
}

// Reads the sections into values. Throws YAML::Exception for what is no YAML.
class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  Result<WebConfig> run(const YAML::Node& root) {
    if (root.IsNull() || !root) return WebConfig{};
    if (!root.IsMap()) return refuse(file_, "", "is no map", "see docs/exporter.md");
    for (const auto& entry : root) {
      const auto key = entry.first.as<std::string>();
      Status done;
      if (key == "tls_server_config") {
        done = read_tls(entry.second);
      } else if (key == "basic_auth_users") {
        done = read_users(entry.second);
      } else if (key == "http_server_config" || key == "rate_limit") {
        continue;  // HTTP/2 and headers: nothing of it concerns what is served here
      } else {
        done = refuse(file_, key, "is unknown", "there are tls_server_config and basic_auth_users");
      }
      if (!done) return fail(std::move(done.error()));
    }
    return std::move(out_);
  }

 private:
  Status read_tls(const YAML::Node& node) {
    if (node.IsNull()) return {};
    if (!node.IsMap()) return refuse(file_, "tls_server_config", "is no map", "");
    for (const auto& entry : node) {
      const auto key = entry.first.as<std::string>();
      if (Status done = read_tls_key(key, entry.second); !done) return done;
    }
    http::TlsConfig& tls = out_.tls_config;
    if (tls.cert_file.empty() && tls.key_file.empty()) return {};
    if (tls.cert_file.empty() || tls.key_file.empty()) {
      return refuse(file_, "tls_server_config", "has only one of cert_file and key_file",
                    "name both");
    }
    const bool looks = tls.client_auth == http::ClientAuth::kVerifyIfGiven ||
                       tls.client_auth == http::ClientAuth::kRequireVerify;
    if (looks && tls.client_ca_file.empty()) {
      return refuse(file_, "tls_server_config.client_auth_type", "needs a CA",
                    "name it in client_ca_file");
    }
    if (!looks && !tls.client_ca_file.empty()) {
      return refuse(file_, "tls_server_config.client_ca_file", "is not used by client_auth_type",
                    "set client_auth_type to RequireAndVerifyClientCert");
    }
    out_.tls = true;
    return {};
  }

  Status read_tls_key(const std::string& key, const YAML::Node& node) {
    http::TlsConfig& tls = out_.tls_config;
    const std::string field = "tls_server_config." + key;
    if (key == "cert_file") {
      tls.cert_file = beside(file_, node.as<std::string>());
    } else if (key == "key_file") {
      tls.key_file = beside(file_, node.as<std::string>());
    } else if (key == "client_ca_file") {
      tls.client_ca_file = beside(file_, node.as<std::string>());
    } else if (key == "client_auth_type") {
      return read_auth(field, node.as<std::string>());
    } else if (key == "min_version") {
      return read_version(field, node.as<std::string>(), tls.least);
    } else if (key == "max_version") {
      return read_version(field, node.as<std::string>(), tls.most);
    } else if (key == "cipher_suites" || key == "curve_preferences" ||
               key == "prefer_server_cipher_suites") {
      return {};  // Go's names for what OpenSSL chooses well by itself
    } else {
      return refuse(file_, field, "is unknown",
                    "there are cert_file, key_file, client_auth_type, client_ca_file, min_version "
                    "and max_version");
    }
    return {};
  }

  Status read_auth(const std::string& field, const std::string& word) {
    using enum http::ClientAuth;
    constexpr std::pair<std::string_view, http::ClientAuth> kWords[] = {
        {"NoClientCert", kNone},
        {"RequestClientCert", kRequest},
        {"RequireClientCert", kRequireAny},
        {"RequireAnyClientCert", kRequireAny},
        {"VerifyClientCertIfGiven", kVerifyIfGiven},
        {"RequireAndVerifyClientCert", kRequireVerify},
    };
    for (const auto& [name, value] : kWords) {
      if (name == word) out_.tls_config.client_auth = value;
      if (name == word) return {};
    }
    if (word.empty()) return {};
    return refuse(file_, field, "'" + valid_utf8(word) + "' is unknown",
                  "write NoClientCert, RequestClientCert, RequireAnyClientCert, "
                  "VerifyClientCertIfGiven or RequireAndVerifyClientCert");
  }

  Status read_version(const std::string& field, const std::string& word, http::TlsVersion& out) {
    using enum http::TlsVersion;
    constexpr std::pair<std::string_view, http::TlsVersion> kWords[] = {
        {"TLS10", k10}, {"TLS11", k11}, {"TLS12", k12}, {"TLS13", k13}};
    for (const auto& [name, value] : kWords) {
      if (name == word) out = value;
      if (name == word) return {};
    }
    return refuse(file_, field, "'" + valid_utf8(word) + "' is unknown",
                  "write TLS10, TLS11, TLS12 or TLS13");
  }

  Status read_users(const YAML::Node& node) {
    if (node.IsNull()) return {};
    if (!node.IsMap()) {
      return refuse(file_, "basic_auth_users", "is no map", "write name: bcrypt text");
    }
    for (const auto& entry : node) {
      const auto name = entry.first.as<std::string>();
      const auto hash = entry.second.as<std::string>();
      const bool bcrypt = hash.size() == 60 && hash.starts_with("$2") && hash[3] == '$';
      if (!bcrypt) {
        return refuse(file_, "basic_auth_users." + valid_utf8(name), "is no bcrypt text",
                      "make one: htpasswd -nBC 10 \"\"");
      }
      out_.users[name] = hash;
    }
    return {};
  }

  const std::string& file_;
  WebConfig out_;
};

std::string digest(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha256(), nullptr) != 1) {
    return {};
  }
  return {reinterpret_cast<const char*>(bytes.data()), size};
}

// Equal in a time that does not tell where they differ.
bool same(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

class Gate {
 public:
  explicit Gate(std::map<std::string, std::string, std::less<>> users) : users_(std::move(users)) {}

  bool opens(const std::string& header) {
    constexpr std::string_view kScheme = "basic ";
    if (to_lower(header.substr(0, kScheme.size())) != kScheme) return false;
    const std::string pair = from_base64(trim(std::string_view(header).substr(kScheme.size())));
    const std::size_t colon = pair.find(':');
    if (colon == std::string::npos) return false;
    const std::string name = pair.substr(0, colon);
    const auto user = users_.find(name);
    const std::string hash = user == users_.end() ? kNobody : user->second;
    const std::string key = digest(hash + '\n' + pair);
    if (!key.empty() && remembered_.contains(key)) return true;
    const bool right = is_password_of(pair.substr(colon + 1), hash) && user != users_.end();
    if (right && !key.empty() && remembered_.size() < kRemembered) remembered_.insert(key);
    return right;
  }

 private:
  std::map<std::string, std::string, std::less<>> users_;
  std::set<std::string> remembered_;  // digests of what was right
};

}  // namespace

Result<WebConfig> parse_web_config(std::string_view text, const std::string& file) {
  try {
    return Reader(file).run(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    return fail(Kind::kInvalid, "is no valid YAML: " + error.msg,
                file + ':' + std::to_string(error.mark.line + 1), "correct the file");
  }
}

bool is_password_of(const std::string& password, const std::string& bcrypt) {
  if (password.find('\0') != std::string::npos) return false;
  // The structure is too large for a stack of a thread.
  auto data = std::make_unique<crypt_data>();
  const char* made = crypt_r(password.c_str(), bcrypt.c_str(), data.get());
  return made != nullptr && made[0] == '$' && same(made, bcrypt);
}

std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return {};
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  unsigned bits = 0;
  unsigned have = 0;
  for (char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return {};
    bits = (bits << 6) | static_cast<unsigned>(digit);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out += static_cast<char>((bits >> have) & 0xFFU);
  }
  return out;
}

http::Handler ask_for_password(std::map<std::string, std::string, std::less<>> users,
                               http::Handler pages) {
  if (users.empty()) return pages;
  auto gate = std::make_shared<Gate>(std::move(users));
  return [gate, pages = std::move(pages)](const http::Request& request) -> http::Response {
    if (gate->opens(request.authorization)) return pages(request);
    http::Response out;
    out.status = 401;
    out.body = "Unauthorized\n";
    out.headers = {{"WWW-Authenticate", "Basic"}};
    return out;
  };
}

}  // namespace kerf::exporter
