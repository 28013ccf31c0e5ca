"""Word n-grams that occur again in the same text, for all n from 2 to 10, without making the n-grams.

An n-gram can occur twice only if both (n-1)-grams in it do. So each round keeps the places whose n-gram occurs at least
twice, with a name for it, the slot of a hash table; the (n+1)-gram at a place is the pair of its name and the name at
the next place. This is the naming of Karp, Miller and Rosenberg (1972), one word at a time. Names are exact from pairs
on, and pairs are told apart by 64-bit hashes.

Most words and pairs of ordinary text are left behind before anything is looked up: counters that several may share, as
hashes fall, can only keep too many, and count without a branch.
"""

import numpy as np
from numpy.typing import NDArray

from engine.annotate.heuristics.counts import DUPLICATE_NGRAMS, Count
from engine.annotate.heuristics.repeats import find_slot, table, table_bits
from engine.text.instructions import num_ones
from engine.text.kernels import SEED, Bytes, Entries, Hashes, Integer, Places, absorb, kernel
from engine.text.words import Words

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_IS_PASSED = np.uint32(1 << 31)
_MOST_WORDS = DUPLICATE_NGRAMS[-1]
_COUNTERS_PER_KEY = 4


def count_ngrams(words: Words, stop_words: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
    """Write what words tell to counts, int64[num_documents, len(Count)]; words with their characters."""
    if words.chars is None:
        raise ValueError("words: got none of their characters. Needed: with_chars=True.")
    longest = int(words.num_words.max(initial=0))
    keys, seen = table(longest)
    counters = np.empty(_COUNTERS_PER_KEY * len(keys), dtype=np.uint8)
    places, names, slots = (np.empty(longest, dtype=np.uint32) for _ in range(3))
    pairs, until = np.empty(longest, dtype=np.uint64), np.zeros(longest + 1, dtype=np.int64)
    _count_texts(
        words.offsets, words.hashes, words.chars, *_slots_of(stop_words),
        keys, seen, counters, places, names, slots, pairs, until, counts,
    )  # fmt: skip


def _slots_of(stop_words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], np.uint64]:
    """Return (64 slots, the shift of a hash whose low 6 bits are its slot): each stop word in a slot of its own."""
    shift = next(
        shift for shift in range(57) if len({int(word) >> shift & 63 for word in stop_words}) == len(stop_words)
    )
    slots = np.zeros(64, dtype=np.uint64)
    slots[(stop_words >> np.uint64(shift)) & np.uint64(63)] = stop_words
    return slots, np.uint64(shift)


@kernel
def _count_texts(
    offsets: Places, all_hashes: Hashes, all_chars: Entries, stop_words: Hashes, stop_shift: np.uint64,
    keys: Hashes, seen: Entries, counters: Bytes, places: Entries, names: Entries, slots: Entries, pairs: Hashes,
    until: Places, all_counts: Places,
) -> None:  # fmt: skip
    """Count the words of each text; `until` are the characters of all words up to one, the rest is room to work in."""
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        hashes, chars, counts = all_hashes[begin:end], all_chars[begin:end], all_counts[document]
        num_left = _keep_words(hashes, chars, stop_words, stop_shift, counters, places, until, counts)
        counts[Count.WORDS], counts[Count.WORD_CHARS] = end - begin, until[end - begin]
        counts[Count.PAIRS], counts[Count.TOP_PAIR] = max(end - begin - 1, 0), end - begin > 1
        counts[Count.FIVES] = max(end - begin - 4, 0)
        if num_left < 2:
            continue
        num_left = _name_pairs(hashes, num_left, keys, seen, counters, places, slots, pairs)
        num_left = _keep_ngrams(2, num_left, seen, places, names, slots, until, counts)
        for num_words in range(3, _MOST_WORDS + 1):
            if num_left < 2:
                break
            num_left = _extend(num_left, keys, seen, places, names, slots)
            num_left = _keep_ngrams(num_words, num_left, seen, places, names, slots, until, counts)


@kernel
def _keep_words(
    hashes: Hashes, chars: Entries, stop_words: Hashes, stop_shift: np.uint64, counters: Bytes, places: Entries,
    until: Places, counts: Places,
) -> Integer:  # fmt: skip
    """Count stop words and characters; write the places of words that may occur twice, return how many."""
    bits = table_bits(len(hashes) * _COUNTERS_PER_KEY // 2)
    shift, found_bits = np.uint64(64 - bits), _ZERO
    counters[: 1 << bits] = 0
    for word in range(np.uint64(len(hashes))):
        word_hash = hashes[word]
        until[word + _ONE] = until[word] + np.int64(chars[word])
        counter = counters[word_hash >> shift]
        counters[word_hash >> shift] = counter + np.uint8(counter < 2)
        slot = word_hash >> stop_shift & np.uint64(63)
        found_bits |= np.uint64(stop_words[slot] == word_hash) << slot
    counts[Count.STOP_WORDS] = np.int64(num_ones(found_bits))
    num_left = _ZERO
    for word in range(np.uint64(len(hashes))):
        # Written in any case and overwritten unless it stays: no branch to mispredict.
        places[num_left] = word
        num_left += np.uint64(counters[hashes[word] >> shift] > 1)
    return np.int64(num_left)


@kernel
def _name_pairs(
    hashes: Hashes, num_left: Integer, keys: Hashes, seen: Entries, counters: Bytes, places: Entries, slots: Entries,
    pairs: Hashes,
) -> Integer:  # fmt: skip
    """Count pairs of neighbouring words, write the place and slot of each that may occur twice, return how many."""
    bits = table_bits(num_left * _COUNTERS_PER_KEY // 2)
    shift, num_pairs = np.uint64(64 - bits), _ZERO
    counters[: 1 << bits] = 0
    for left in range(np.uint64(num_left - 1)):
        place = np.uint64(places[left])
        is_pair = np.uint64(places[left + _ONE]) == place + _ONE
        pair = absorb(absorb(SEED, hashes[place]), hashes[place + _ONE])
        places[num_pairs], pairs[num_pairs] = place, pair
        counter = counters[pair >> shift]
        counters[pair >> shift] = counter + np.uint8((counter < 2) & is_pair)
        num_pairs += np.uint64(is_pair)
    num_found = _ZERO
    for found in range(num_pairs):
        places[num_found], pairs[num_found] = places[found], pairs[found]
        num_found += np.uint64(counters[pairs[found] >> shift] > 1)
    bits = table_bits(np.int64(num_found))
    seen[: 1 << bits] = 0
    for found in range(num_found):
        slot = find_slot(pairs[found], pairs[found], bits, keys, seen)
        keys[slot] = pairs[found]
        seen[slot] += np.uint32(1)
        slots[found] = slot
    return np.int64(num_found)


@kernel
def _extend(num_left: Integer, keys: Hashes, seen: Entries, places: Entries, names: Entries, slots: Entries) -> Integer:
    """Count n-grams one word longer, write the place and slot of each that may occur twice, return how many."""
    bits = table_bits(num_left)
    seen[: 1 << bits] = 0
    num_found = _ZERO
    for left in range(np.uint64(num_left - 1)):
        place = places[left]
        if places[left + _ONE] != place + np.uint32(1):
            continue
        key = np.uint64(names[left]) << np.uint64(32) | np.uint64(names[left + _ONE])
        slot = find_slot(key, key * _FACTOR, bits, keys, seen)
        keys[slot] = key
        seen[slot] += np.uint32(1)
        places[num_found], slots[num_found] = place, slot
        num_found += _ONE
    return np.int64(num_found)


@kernel
def _keep_ngrams(
    num_words: Integer, num_found: Integer, seen: Entries, places: Entries, names: Entries, slots: Entries,
    until: Places, counts: Places,
) -> Integer:  # fmt: skip
    """Keep the n-grams that occur at least twice, return how many; write what they come to in characters."""
    num_left = _ZERO
    top: Integer = 0
    top_chars: Integer = 0
    repeated_chars: Integer = 0
    covered: Integer = 0
    num_repeated = 0
    for found in range(np.uint64(num_found)):
        slot, place = slots[found], np.int64(places[found])
        occurrences = np.int64(seen[slot] & ~_IS_PASSED)
        if occurrences < 2:
            continue
        end: Integer = place + num_words
        if seen[slot] & _IS_PASSED:
            num_repeated += 1
            repeated_chars += until[end] - until[max(place, covered)]
            covered = end
        else:
            seen[slot] |= _IS_PASSED
            chars = until[end] - until[place]
            if occurrences > top or (occurrences == top and chars > top_chars):
                top, top_chars = occurrences, chars
        places[num_left], names[num_left] = place, slot
        num_left += _ONE
    if num_words == 2:
        counts[Count.TOP_PAIR] = max(counts[Count.TOP_PAIR], top)
    if num_words == 5:
        counts[Count.REPEATED_FIVES] = num_repeated
    if num_words < 5:
        counts[Count.TOP_2GRAM_CHARS + num_words - 2] = top * top_chars
    else:
        counts[Count.REPEATED_5GRAM_CHARS + num_words - 5] = repeated_chars
    return np.int64(num_left)
