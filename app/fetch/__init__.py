"""Download of files that requests name by a URL or in an object store, in a process of its own.

addresses        which IP addresses are public
urls             strict parsing of URLs
network          connections to addresses that were resolved once and checked
download         one download with its redirects and bounds
server           the program that web and the job worker ask; `python -m app.fetch`
client           their side of its socket
"""
