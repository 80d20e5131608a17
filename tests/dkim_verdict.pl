#!/usr/bin/perl
# An independent DKIM verifier (Mail::DKIM), asking the name server at 127.0.0.1:PORT.
# Usage: dkim_verdict.pl PORT < message; prints the result and the signing domain.
use strict;
use warnings;
use Mail::DKIM::Verifier;
use Mail::DKIM::DNS;
use Net::DNS::Resolver;

my ($port) = @ARGV;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, recurse => 1));
my $dkim = Mail::DKIM::Verifier->new();
binmode STDIN;
while (my $line = <STDIN>) { $dkim->PRINT($line); }
$dkim->CLOSE;
print $dkim->result, ' ', ($dkim->signature ? $dkim->signature->domain : ''), "\n";
