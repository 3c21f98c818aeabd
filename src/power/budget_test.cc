// The budget: fair shares, no trembling, and never above the total at any instant, over a day.
#include "power/budget.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace kerf::power {
namespace {

constexpr std::uint32_t kW = 1000;

Sharer sharer(std::string uuid, std::uint32_t limit_w, std::uint32_t draw_w, unsigned weight = 1) {
  return {std::move(uuid), 100 * kW, 350 * kW, weight, limit_w * kW, draw_w * kW};
}

std::vector<std::uint32_t> limits_w(const Shares& shares) {
  std::vector<std::uint32_t> out;
  for (const Share& share : shares.shares) out.push_back(share.limit_mw / kW);
  return out;
}

std::uint64_t sum(const Shares& shares) {
  std::uint64_t out = 0;
  for (const Share& share : shares.shares) out += share.limit_mw;
  return out;
}

using Limits = std::vector<std::uint32_t>;

TEST(Sharing, GivesTheLeastThenNeedsThenTheRestByWeight) {
  struct Case {
    const char* what;
    std::uint32_t total_w;
    std::vector<unsigned> weights;
    std::vector<std::uint32_t> wants_w;
    Limits limits;
  };
  for (const Case& c : {
           Case{"all hungry, same weight", 550, {1, 1}, {350, 350}, {275, 275}},
           {"one hungry", 550, {1, 1}, {350, 120}, {350, 200}},
           {"all hungry, three to one", 600, {3, 1}, {350, 350}, {350, 250}},
           {"weights above the least", 400, {3, 1}, {350, 350}, {250, 150}},
           {"enough for all", 900, {1, 1}, {350, 350}, {350, 350}},
           {"nobody needs anything", 500, {1, 1}, {0, 0}, {250, 250}},
           {"exactly the least", 200, {1, 5}, {350, 350}, {100, 100}},
           {"three, one idle", 700, {1, 1, 1}, {350, 350, 100}, {300, 300, 100}},
       }) {
    std::vector<Sharer> sharers;
    std::vector<std::uint32_t> wants;
    for (std::size_t i = 0; i < c.weights.size(); ++i) {
      sharers.push_back(sharer(std::string("GPU-") + std::to_string(i), 0, 0, c.weights[i]));
      wants.push_back(c.wants_w[i] * kW);
    }
    const Shares shares = share_out(c.total_w * kW, sharers, wants);
    EXPECT_EQ(limits_w(shares), c.limits) << c.what;
    EXPECT_LE(sum(shares), c.total_w * kW) << c.what;
    EXPECT_FALSE(shares.impossible);
  }
}

TEST(Sharing, SaysWhenTheTotalIsLessThanTheBoardsTake) {
  const std::vector<Sharer> sharers = {sharer("a", 350, 20), sharer("b", 350, 20)};
  const Shares shares = share_out(150 * kW, sharers, Limits{0, 0});
  EXPECT_TRUE(shares.impossible);
  EXPECT_EQ(limits_w(shares), (Limits{100, 100}));
}

TEST(Sharing, HoldsForAnyNodeAndAnyDemand) {
  std::mt19937 random(7);
  auto upto = [&](std::uint32_t most) { return static_cast<std::uint32_t>(random() % (most + 1)); };
  for (int round = 0; round < 5000; ++round) {
    std::vector<Sharer> sharers;
    std::vector<std::uint32_t> wants;
    std::uint64_t least = 0, most = 0;
    for (std::uint32_t i = 0; i <= upto(15); ++i) {
      Sharer s = sharer(std::to_string(i), 0, 0, 1 + upto(9));
      s.min_mw = upto(200'000);
      s.max_mw = s.min_mw + upto(500'000);
      least += s.min_mw;
      most += s.max_mw;
      wants.push_back(upto(800'000));
      sharers.push_back(s);
    }
    const std::uint32_t total = upto(3'000'000);
    const Shares shares = share_out(total, sharers, wants);
    EXPECT_EQ(shares.impossible, least > total);
    ASSERT_EQ(shares.shares.size(), sharers.size());
    for (std::size_t i = 0; i < sharers.size(); ++i) {
      EXPECT_GE(shares.shares[i].limit_mw, sharers[i].min_mw);
      EXPECT_LE(shares.shares[i].limit_mw, sharers[i].max_mw);
    }
    if (shares.impossible) continue;
    EXPECT_LE(sum(shares), total);
    // Nothing is left lying about that somebody might have, but for fractions of watts.
    EXPECT_GE(sum(shares) + 2 * kW * (sharers.size() + 1), std::min<std::uint64_t>(total, most));
  }
}

TEST(Sharing, DoesNotMoveForLittleNorWhenNobodyLacksAnything) {
  Sharing sharing({500 * kW, 10 * kW, 1});
  // Far from the ideal, yet everybody has enough.
  const std::vector<Sharer> calm = {sharer("a", 300, 150), sharer("b", 200, 60)};
  EXPECT_EQ(limits_w(sharing.look(500 * kW, calm)), (Limits{300, 200}));
  // One is at its limit, and the other has more than it needs.
  const std::vector<Sharer> hungry = {sharer("a", 300, 299), sharer("b", 200, 60)};
  EXPECT_EQ(limits_w(sharing.look(500 * kW, hungry)), (Limits{350, 150}));
  // It would gain less than is worth a move.
  const std::vector<Sharer> nearly = {sharer("a", 345, 344), sharer("b", 155, 60)};
  EXPECT_EQ(limits_w(sharing.look(500 * kW, nearly)), (Limits{345, 155}));
  // Above the total everything moves, however little.
  const std::vector<Sharer> over = {sharer("a", 300, 60), sharer("b", 201, 60)};
  EXPECT_LE(sum(sharing.look(500 * kW, over)), 500 * kW);
}

TEST(Sharing, RemembersWhatAGpuNeededAMomentAgo) {
  Sharing sharing({500 * kW, 10 * kW, 3});
  const std::vector<Sharer> both = {sharer("a", 250, 249), sharer("b", 250, 249)};
  EXPECT_EQ(limits_w(sharing.look(500 * kW, both)), (Limits{250, 250}));
  // b pauses between two batches: nothing is taken from it yet.
  const std::vector<Sharer> pause = {sharer("a", 250, 249), sharer("b", 250, 40)};
  EXPECT_EQ(limits_w(sharing.look(500 * kW, pause)), (Limits{250, 250}));
  EXPECT_EQ(limits_w(sharing.look(500 * kW, pause)), (Limits{250, 250}));
  EXPECT_EQ(limits_w(sharing.look(500 * kW, pause)), (Limits{350, 150}));
}

TEST(Ledger, LetsALimitRiseOnlyByWhatOthersGaveUp) {
  Ledger ledger;
  ledger.saw("a", 300 * kW);
  ledger.saw("b", 200 * kW);
  EXPECT_FALSE(ledger.fits("b", 201 * kW, 500 * kW));
  EXPECT_TRUE(ledger.fits("a", 250 * kW, 500 * kW));
  EXPECT_TRUE(ledger.fits("a", 299 * kW, 100 * kW));  // lowering always may
  ledger.saw("a", 250 * kW);
  EXPECT_TRUE(ledger.fits("b", 250 * kW, 500 * kW));
  EXPECT_FALSE(ledger.fits("b", 251 * kW, 500 * kW));
  EXPECT_FALSE(ledger.fits("c", 100 * kW, 500 * kW));  // newly come
  ledger.forget("a");
  EXPECT_TRUE(ledger.fits("c", 100 * kW, 500 * kW));
}

// A node over a day: GPUs draw what their jobs ask for, as far as their limits let them. Changes
// fail now and then; GPUs fall silent and answer again.
class Day {
 public:
  static constexpr std::size_t kGpus = 8;
  static constexpr std::uint32_t kTotal = 4000 * kW;
  static constexpr int kLooks = 24 * 360;  // every ten seconds

  explicit Day(bool faults) : faults_(faults), random_(20260101) {
    for (std::size_t i = 0; i < kGpus; ++i) {
      limits_[i] = kTotal / kGpus;
      ledger_.saw(name(i), limits_[i]);
    }
  }

  void run() {
    for (int look = 0; look < kLooks; ++look) {
      for (std::size_t i = 0; i < kGpus; ++i) job(i, look);
      settle();
    }
  }

  std::uint64_t served = 0, asked = 0, equal = 0;
  unsigned moves = 0;
  std::uint64_t worst = 0;

 private:
  static constexpr std::uint32_t kMin = 200 * kW, kMax = 700 * kW, kIdle = 90 * kW;

  static std::string name(std::size_t i) { return "GPU-" + std::to_string(i); }
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }

  // Busy by day, quiet by night; jobs come and go.
  void job(std::size_t i, int look) {
    const double hour = look / 360.0;
    const double busy = 0.15 + 0.5 * std::max(0.0, std::sin((hour - 6) / 24 * 2 * 3.14159));
    if (chance(0.004)) {
      demand_[i] =
          chance(busy) ? 400 * kW + static_cast<std::uint32_t>(random_() % (300 * kW)) : kIdle;
    }
    if (faults_ && chance(0.001)) silent_[i] = !silent_[i];
  }

  std::uint32_t draw(std::size_t i) const { return std::min(demand_[i], limits_[i]); }

  void settle() {
    std::vector<Sharer> sharers;
    std::uint64_t reserved = 0;
    for (std::size_t i = 0; i < kGpus; ++i) {
      asked += demand_[i];
      served += draw(i);
      equal += std::min(demand_[i], kTotal / static_cast<std::uint32_t>(kGpus));
      if (silent_[i]) {
        reserved += ledger_.held(name(i)).value_or(0);
      } else {
        sharers.push_back({name(i), kMin, kMax, 1, limits_[i], draw(i)});
      }
    }
    const Shares shares = sharing_.look(static_cast<std::uint32_t>(kTotal - reserved), sharers);
    ASSERT_FALSE(shares.impossible);
    for (const bool raising : {false, true}) {
      for (std::size_t s = 0; s < sharers.size(); ++s) {
        const Share& share = shares.shares[s];
        if (share.limit_mw == sharers[s].limit_mw) continue;
        if ((share.limit_mw > sharers[s].limit_mw) == raising) set(share);
      }
    }
  }

  void set(const Share& share) {
    if (!ledger_.fits(share.uuid, share.limit_mw, kTotal)) return;
    if (faults_ && chance(0.2)) return;  // refused by the driver: as it was
    limits_[static_cast<std::size_t>(share.uuid.back() - '0')] = share.limit_mw;
    ledger_.saw(share.uuid, share.limit_mw);
    ++moves;
    std::uint64_t now = 0;
    for (std::uint32_t limit : limits_) now += limit;
    worst = std::max(worst, now);
    ASSERT_LE(now, kTotal);
  }

  bool faults_;
  std::mt19937 random_;
  std::uint32_t limits_[kGpus] = {};
  std::uint32_t demand_[kGpus] = {kIdle, kIdle, kIdle, kIdle, kIdle, kIdle, kIdle, kIdle};
  bool silent_[kGpus] = {};
  Ledger ledger_;
  Sharing sharing_{{kTotal, 10 * kW, 6}};
};

TEST(ADay, IsServedBetterThanByEqualSharesAndNeverPassesTheTotal) {
  Day day(false);
  day.run();
  EXPECT_LE(day.worst, Day::kTotal);
  // Of what equal shares could not serve, most is.
  const std::uint64_t lacking_equal = day.asked - day.equal;
  const std::uint64_t lacking = day.asked - day.served;
  EXPECT_GT(lacking_equal, 0u);
  EXPECT_LT(lacking * 3, lacking_equal) << lacking << " of " << lacking_equal;
  // And limits rest most of the time: a move is a handful of sets for a job that came or went.
  EXPECT_GT(day.moves, 50u);
  EXPECT_LT(day.moves, Day::kLooks / 4);
}

TEST(ADay, WithRefusalsAndSilentGpusNeverPassesTheTotalEither) {
  Day day(true);
  day.run();
  EXPECT_LE(day.worst, Day::kTotal);
  EXPECT_GT(day.moves, 50u);
}

}  // namespace
}  // namespace kerf::power
