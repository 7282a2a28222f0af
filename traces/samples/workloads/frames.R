# Data frames of a few hundred thousand rows: made, merged, sorted, aggregated, fitted.
set.seed(7)
for (round in 1:3) {
  n <- 60000 + 20000 * round
  people <- data.frame(id = seq_len(n), group = sample(letters, n, TRUE), height = rnorm(n, 170, 10))
  visits <- data.frame(id = sample(n, n, TRUE), cost = rexp(n))
  both <- merge(people, visits, by = "id")
  means <- aggregate(cost ~ group, data = both, FUN = mean)
  ordered <- both[order(both$height, both$cost), ]
  fit <- lm(cost ~ height, data = ordered)
  smooth <- cumsum(ordered$cost) / seq_along(ordered$cost)
  cat(round, nrow(both), format(coef(fit)[["height"]], digits = 4), format(max(smooth), digits = 4), nrow(means), "\n")
}
