"""Dragoman beside the engines a user would pick instead: same sentences, weights, beam, threads and longest output.

`engines` are processes that answer requests over pipes, so that each one's memory is its own and rounds can take turns;
`peer` is such a process for CTranslate2 and for Hugging Face's `generate()`, `bin/dragoman bench --on-request` is ours.
`measure` asks them round by round, `page` turns what they said into a table and a plot.
"""
