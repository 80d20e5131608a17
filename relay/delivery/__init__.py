"""The queue and the engine that empties it: route, sign, converse, classify, retry."""
