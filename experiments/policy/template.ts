/** The module that `hakmem policy new` prints: a policy that runs as it is, to be changed. */
export const template = `// A policy of your own for hakmem: it chooses, window by window, from which size on blocks are mapped.
//
//   npx hakmem policy new > mine.mjs
//   npx hakmem check ./mine.mjs                                    does it keep the contract?
//   npx hakmem replay app.hak --policy ./mine.mjs --check none     what would it cost?
//   npx hakmem sweep app.hak --policy ./mine.mjs --axis window_events=1K:64K:7 --check none
//
// This one follows the leader: it takes the arm of least mean cost, and one window in ten any arm at all.

/** @type {import('hakmem/policy').Policy} */
export default {
  // Shown beside results, with the SHA-256 of this file.
  name: 'follow-the-leader',

  // The thresholds to choose among: 1 to 12, rising, whole pages. Without it, the twelve of the configuration.
  // arms_bytes: [512 * 1024, 1024 * 1024, 2 * 1024 * 1024, 4 * 1024 * 1024],

  // Called once a run. Keep everything that is learned in here: two runs may go on side by side.
  // Take chance from random() alone, a number in [0, 1): the same seed must give the same run.
  create({ arms_bytes, random }) {
    const arms = arms_bytes.length;
    const explore = 0.1;
    const sums = new Array(arms).fill(0);
    const counts = new Array(arms).fill(0);

    // What has not been seen yet comes first.
    function leader() {
      let best = 0;
      for (let arm = 0; arm < arms; arm += 1) {
        if (counts[arm] === 0) return arm;
        if (sums[arm] / counts[arm] < sums[best] / counts[best]) best = arm;
      }
      return best;
    }

    return {
      // Index of the arm for the window that begins.
      choose() {
        return random() < explore ? Math.floor(random() * arms) : leader();
      },

      // A window closed: its number, the event that closed it, the arm that acted, and by arm what it cost or would have
      // cost. With rating=classic only the one that acted is known: the others are -1.
      learn({ costs }) {
        costs.forEach((cost, arm) => {
          if (cost < 0) return;
          sums[arm] += cost;
          counts[arm] += 1;
        });
      },

      // The arm it holds best: lifecycle=auto freezes on it. Optional.
      best: leader,

      // The program has changed: forget. Optional; without it, create() is called again.
      reset() {
        sums.fill(0);
        counts.fill(0);
      },
    };
  },
};
`;
