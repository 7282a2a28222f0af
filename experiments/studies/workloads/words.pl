# Words counted in hashes, sorted, joined and split again.
use strict;
my ($seed, $total) = (1, 0);
for my $round (1 .. 2) {
    my %count;
    for (1 .. 15000) {
        $seed = ($seed * 1103515245 + 12345) % 2147483648;
        $count{"word" . $seed % 6000} .= "x";
    }
    my $text = join " ", map { "$_=$count{$_}" } sort keys %count;
    $total += scalar split /x+ /, $text;
}
print "$total\n";
