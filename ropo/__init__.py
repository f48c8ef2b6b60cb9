"""ropo: Research Online, Purchase Offline.

The doorway of the house: the command line, the settings and the processes. Only this room sees all the others.

    exchange    one request and its response, as the proxy saw it
    worker      a process that serves visitors and writes records to the spool
    collector   the process that turns records into the log and leads into deliveries
"""

__version__ = "0.1.0"
