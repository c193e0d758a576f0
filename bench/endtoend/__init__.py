"""Whole programs measured in the lab. bench/run is the command; doc/PERFORMANCE.md says how each figure is measured.

framework   sections, steps, rounds, and the file in which each section keeps what it has measured
measure     what is read from /proc and from the servers, and the two programs at work
traffic     servers, load, and bench/load and bench/tap
output      tables in Markdown, the chart, the machine, the generated part of doc/PERFORMANCE.md
work, network, delay, online, sessions, mirror, files, loop
            the sections
"""
