"""All sections, in the order of the document."""

from . import delay, files, loop, micro, mirror, network, online, sessions, work

SECTIONS = [work.SECTION, delay.SECTION, loop.SECTION, online.SECTION, sessions.SECTION, sessions.WORKERS,
            mirror.SECTION, mirror.STALL, files.SECTION, network.SECTION, micro.SECTION]
