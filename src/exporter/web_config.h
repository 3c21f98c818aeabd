// The web configuration of Prometheus's exporter-toolkit: TLS and passwords. Reads the file's text
// into values, and checks passwords. Source: metrics contract §1.7; exporter-toolkit's
// documentation of its web configuration.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/server.h"
#include "http/tls.h"

namespace kerf::exporter {

struct WebConfig {
  bool tls = false;
  http::TlsConfig tls_config;
  std::map<std::string, std::string, std::less<>> users;  // name → bcrypt
};

// `file` is where the text came from: for messages, and relative paths in it are relative to its
// directory. Errors: kInvalid, the subject is "file: field".
Result<WebConfig> parse_web_config(std::string_view text, const std::string& file);

// Puts a question for name and password in front of `pages` when there are users. A password that
// was right is remembered by its digest, because bcrypt is slow by design; wrong ones are not.
http::Handler ask_for_password(std::map<std::string, std::string, std::less<>> users,
                               http::Handler pages);

// Whether a password belongs to a bcrypt text ("$2y$10$…").
bool is_password_of(const std::string& password, const std::string& bcrypt);

// The bytes that a text of base64 stands for; nothing when it is none.
std::string from_base64(std::string_view text);

}  // namespace kerf::exporter
