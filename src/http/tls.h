// The server's side of TLS: certificate, key and what is asked of clients. Files are read anew when
// they have changed, so that a renewed certificate needs no restart. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace kerf::http {

// Versions of TLS as OpenSSL numbers them; 0: OpenSSL's choice.
enum class TlsVersion : int {
  kDefault = 0,
  k10 = 0x0301,
  k11 = 0x0302,
  k12 = 0x0303,
  k13 = 0x0304
};

// What a client's certificate is worth, in the words of Go's crypto/tls.
enum class ClientAuth {
  kNone,           // not asked for
  kRequest,        // asked for, anything will do, also none
  kRequireAny,     // there must be one, not looked at further
  kVerifyIfGiven,  // if there is one it must be signed by client_ca_file
  kRequireVerify,  // there must be one, signed by client_ca_file
};

struct TlsConfig {
  std::string cert_file;  // PEM, the chain
  std::string key_file;   // PEM, without a passphrase
  ClientAuth client_auth = ClientAuth::kNone;
  std::string client_ca_file;  // PEM
  TlsVersion least = TlsVersion::k12;
  TlsVersion most = TlsVersion::kDefault;
  std::string ciphers;  // OpenSSL's list for TLS 1.2; empty: its choice
};

class Tls {
 public:
  // Reads the files once, so that a mistake is told at the start. The subject of an error is the
  // file.
  static Result<std::shared_ptr<Tls>> make(TlsConfig config);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  explicit Tls(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kerf::http
