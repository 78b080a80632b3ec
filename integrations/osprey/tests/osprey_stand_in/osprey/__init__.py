"""A stand-in for ROOST's Osprey, which no registry has: only what the plugin touches of it.

It follows the interface that https://github.com/roostorg/osprey publishes (read in November
2026): functions are subclasses of `UDFBase[Arguments, RValue]`, arguments are annotated fields of a
subclass of `ArgumentsBase`, and plugins are found by the entry point `osprey_plugin`. It is none of
Osprey's code, and shows nothing about Osprey itself.
"""
