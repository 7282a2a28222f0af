# Strings that grow to hundreds of kilobytes and are changed whole.
use strict;
my $total = 0;
for my $round (1 .. 16) {
    my $text = "";
    $text .= "field $_, " x 3 for 1 .. 300 * (1 + $round % 5);
    (my $other = $text) =~ s/field/f/g;
    my @parts = split /, /, $other;
    $total += @parts + length $text;
}
print "$total\n";
