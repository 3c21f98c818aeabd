#include "base/strings.h"
#include "http/server.h"

namespace kerf::http {

Result<HostPort> parse_host_port(const std::string& address) {
  auto wrong = [&](std::string what) {
    return fail(Kind::kInvalid, std::move(what), address,
                "write host:port, [IPv6]:port, or :port for all addresses, such as :2112");
  };
  std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return wrong("address has no port");
  HostPort out;
  out.host = address.substr(0, colon);
  if (out.host.starts_with('[')) {
    if (!out.host.ends_with(']') || out.host.size() < 4) return wrong("malformed IPv6 address");
    out.host = out.host.substr(1, out.host.size() - 2);
  } else if (out.host.find(':') != std::string::npos) {
    return wrong("an IPv6 address needs brackets");
  }
  auto port = parse_u64(std::string_view(address).substr(colon + 1));
  if (!port || *port > 65535) return wrong("port is not a number from 0 to 65535");
  out.port = static_cast<std::uint16_t>(*port);
  return out;
}

std::string_view status_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 414:
      return "URI Too Long";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

}  // namespace kerf::http
