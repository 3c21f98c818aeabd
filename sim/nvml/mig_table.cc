#include "mig_table.h"

#include <cstring>

namespace nvmlsim {
namespace {

// Columns: enumeration, id, name, slices, most, MiB, SMs, copy, dec, enc, jpeg, ofa, places.
constexpr MigTable kTables[] = {
    {"a100-40",
     7,
     8,
     14,
     7,
     {
         {0x0, 19, "1g.5gb", 1, 7, 4864, 14, 1, 0, 0, 0, 0, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x7, 20, "1g.5gb+me", 1, 1, 4864, 14, 1, 1, 0, 1, 1, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x9, 15, "1g.10gb", 1, 4, 9856, 14, 1, 1, 0, 0, 0, 2, 4, {0, 2, 4, 6}},
         {0x1, 14, "2g.10gb", 2, 3, 9856, 28, 2, 1, 0, 0, 0, 2, 3, {0, 2, 4}},
         {0x2, 9, "3g.20gb", 3, 2, 19968, 42, 3, 2, 0, 0, 0, 4, 2, {0, 4}},
         {0x3, 5, "4g.20gb", 4, 1, 19968, 56, 4, 2, 0, 0, 0, 4, 1, {0}},
         {0x4, 0, "7g.40gb", 7, 1, 40192, 98, 7, 5, 0, 1, 1, 8, 1, {0}},
     }},
    {"a100-80",
     7,
     8,
     14,
     7,
     {
         {0x0, 19, "1g.10gb", 1, 7, 9856, 14, 1, 0, 0, 0, 0, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x7, 20, "1g.10gb+me", 1, 1, 9856, 14, 1, 1, 0, 1, 1, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x9, 15, "1g.20gb", 1, 4, 19968, 14, 1, 1, 0, 0, 0, 2, 4, {0, 2, 4, 6}},
         {0x1, 14, "2g.20gb", 2, 3, 19968, 28, 2, 1, 0, 0, 0, 2, 3, {0, 2, 4}},
         {0x2, 9, "3g.40gb", 3, 2, 40192, 42, 3, 2, 0, 0, 0, 4, 2, {0, 4}},
         {0x3, 5, "4g.40gb", 4, 1, 40192, 56, 4, 2, 0, 0, 0, 4, 1, {0}},
         {0x4, 0, "7g.80gb", 7, 1, 80384, 98, 7, 5, 0, 1, 1, 8, 1, {0}},
     }},
    {"a30",
     4,
     4,
     14,
     3,
     {
         {0x0, 14, "1g.6gb", 1, 4, 5836, 14, 1, 0, 0, 0, 0, 1, 4, {0, 1, 2, 3}},
         {0x1, 5, "2g.12gb", 2, 2, 11672, 28, 2, 2, 0, 0, 0, 2, 2, {0, 2}},
         {0x3, 0, "4g.24gb", 4, 1, 23344, 56, 4, 4, 0, 1, 1, 4, 1, {0}},
     }},
    {"h100-80",
     7,
     8,
     16,
     7,
     {
         {0x0, 19, "1g.10gb", 1, 7, 9984, 16, 1, 1, 0, 1, 0, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x7, 20, "1g.10gb+me", 1, 1, 9984, 16, 1, 1, 0, 1, 1, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x9, 15, "1g.20gb", 1, 4, 20096, 26, 1, 1, 0, 1, 0, 2, 4, {0, 2, 4, 6}},
         {0x1, 14, "2g.20gb", 2, 3, 20096, 32, 2, 2, 0, 2, 0, 2, 3, {0, 2, 4}},
         {0x2, 9, "3g.40gb", 3, 2, 40448, 60, 3, 3, 0, 3, 0, 4, 2, {0, 4}},
         {0x3, 5, "4g.40gb", 4, 1, 40448, 64, 4, 4, 0, 4, 0, 4, 1, {0}},
         {0x4, 0, "7g.80gb", 7, 1, 81152, 132, 8, 7, 0, 7, 1, 8, 1, {0}},
     }},
    {"h200",
     7,
     8,
     16,
     7,
     {
         {0x0, 19, "1g.18gb", 1, 7, 16384, 16, 1, 1, 0, 1, 0, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x7, 20, "1g.18gb+me", 1, 1, 16384, 16, 1, 1, 0, 1, 1, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x9, 15, "1g.35gb", 1, 4, 33024, 26, 1, 1, 0, 1, 0, 2, 4, {0, 2, 4, 6}},
         {0x1, 14, "2g.35gb", 2, 3, 33024, 32, 2, 2, 0, 2, 0, 2, 3, {0, 2, 4}},
         {0x2, 9, "3g.71gb", 3, 2, 71168, 60, 3, 3, 0, 3, 0, 4, 2, {0, 4}},
         {0x3, 5, "4g.71gb", 4, 1, 71168, 64, 4, 4, 0, 4, 0, 4, 1, {0}},
         {0x4, 0, "7g.141gb", 7, 1, 143104, 132, 8, 7, 0, 7, 1, 8, 1, {0}},
     }},
    {"b200",
     7,
     8,
     18,
     7,
     {
         {0x0, 19, "1g.23gb", 1, 7, 21504, 18, 2, 1, 0, 1, 0, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x7, 20, "1g.23gb+me", 1, 1, 21504, 18, 2, 1, 0, 1, 1, 1, 7, {0, 1, 2, 3, 4, 5, 6}},
         {0x9, 15, "1g.45gb", 1, 4, 45312, 30, 2, 1, 0, 1, 0, 2, 4, {0, 2, 4, 6}},
         {0x1, 14, "2g.45gb", 2, 3, 45312, 36, 4, 2, 0, 2, 0, 2, 3, {0, 2, 4}},
         {0x2, 9, "3g.90gb", 3, 2, 91648, 70, 6, 3, 0, 3, 0, 4, 2, {0, 4}},
         {0x3, 5, "4g.90gb", 4, 1, 91648, 72, 8, 4, 0, 4, 0, 4, 1, {0}},
         {0x4, 0, "7g.180gb", 7, 1, 182784, 148, 16, 7, 0, 7, 1, 8, 1, {0}},
     }},
};
constexpr uint32_t kTableCount = sizeof(kTables) / sizeof(kTables[0]);

}  // namespace

const MigTable* mig_table(uint32_t index) {
  return index == 0 || index > kTableCount ? nullptr : &kTables[index - 1];
}

uint32_t find_mig_table(const char* name) {
  for (uint32_t i = 0; i < kTableCount; ++i)
    if (!std::strcmp(kTables[i].name, name)) return i + 1;
  return 0;
}

const MigProfile* find_profile(const MigTable& table, uint32_t profile) {
  for (uint32_t i = 0; i < table.profile_count; ++i)
    if (table.profiles[i].profile == profile) return &table.profiles[i];
  return nullptr;
}

const MigProfile* find_profile_by_id(const MigTable& table, uint32_t id) {
  for (uint32_t i = 0; i < table.profile_count; ++i)
    if (table.profiles[i].id == id) return &table.profiles[i];
  return nullptr;
}

const MigProfile* find_profile_by_name(const MigTable& table, const char* name) {
  for (uint32_t i = 0; i < table.profile_count; ++i)
    if (!std::strcmp(table.profiles[i].name, name)) return &table.profiles[i];
  return nullptr;
}

uint32_t compute_profile_slices(uint32_t profile) {
  constexpr uint32_t kSlices[] = {1, 2, 3, 4, 7, 8, 6, 1};
  return profile < sizeof(kSlices) / sizeof(kSlices[0]) ? kSlices[profile] : 0;
}

}  // namespace nvmlsim
