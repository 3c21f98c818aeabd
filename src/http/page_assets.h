// page.css and page.js as text, made by CMake (embed.cmake). Internal to the room.
#pragma once

#include <string_view>

namespace kerf::http {

extern const std::string_view kPageCss;
extern const std::string_view kPageJs;

}  // namespace kerf::http
