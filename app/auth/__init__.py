"""Who may use the service, and how much of it: keys, their quotas, sessions of the page, and the gate before it all.

    clipstack-keys ── writes ──▶ <data>/access/keys.json ── read anew when it changes ──┐
                                                                                        ▼
    request ── Authorization: Bearer | X-API-Key | session cookie ──▶ gate ──▶ quota ──▶ view, as the key's owner

nginx asks the gate (`/_key`) before it takes an upload, so that nobody without a key fills its disk; the gate decides
again when the request itself comes, so nothing depends on nginx having asked.
"""
