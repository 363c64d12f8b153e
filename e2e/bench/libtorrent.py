"""A seeder and N leechers of one file, each a libtorrent session on loopback.

Arguments: file, directory for the leechers, N, their upload limit and the
seeder's, bytes a second (0: none), piece length (0: as it likes). Prints the
seconds until the last leecher has all, from the first connection and from the
first byte, and how many times the seeder uploaded the file.
"""
import os
import sys
import time

import libtorrent as lt

file, directory, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
limit, source, piece = int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])


def session(i, upload):
    s = lt.session({
        "listen_interfaces": "127.0.0.1:%d" % (30000 + i),
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_outgoing_utp": False, "enable_incoming_utp": False,  # loopback loses nothing
        "allow_multiple_connections_per_ip": True,
        "upload_rate_limit": upload,
        "alert_mask": 0,
    })
    # Without this, addresses of a local network are exempt from the limit.
    everybody = lt.ip_filter()
    everybody.add_rule("0.0.0.0", "255.255.255.255", 1 << int(lt.session.global_peer_class_id))
    s.set_peer_class_filter(everybody)
    return s


def add(s, where, flags=0):
    p = lt.add_torrent_params()
    p.ti, p.save_path = info, where
    p.flags = p.flags & ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused | flags
    return s.add_torrent(p)


storage = lt.file_storage()
lt.add_files(storage, file)
torrent = lt.create_torrent(storage, piece)
lt.set_piece_hashes(torrent, os.path.dirname(file))
info = lt.torrent_info(torrent.generate())

sessions = [session(0, source)] + [session(i, limit) for i in range(1, n + 1)]
seeder = add(sessions[0], os.path.dirname(file), lt.torrent_flags.seed_mode)
leechers = []
for i in range(1, n + 1):
    where = os.path.join(directory, str(i))
    os.makedirs(where)
    leechers.append(add(sessions[i], where))
while any(h.status().state == lt.torrent_status.checking_files for h in leechers):
    time.sleep(0.05)

start = time.monotonic()
for i, h in enumerate(leechers, 1):
    for j in range(i):
        h.connect_peer(("127.0.0.1", 30000 + j))
incomplete, first = leechers, 0
while incomplete:
    time.sleep(0.02)
    if not first and seeder.status().total_payload_upload:
        first = time.monotonic()
    incomplete = [h for h in incomplete if not h.status().is_seeding]
end = time.monotonic()
print("%.3f %.3f %.4f" % (end - start, end - first, seeder.status().total_payload_upload / info.total_size()), flush=True)
os._exit(0)  # sessions would take seconds to say goodbye
