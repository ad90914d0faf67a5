"""Authentication and quotas: API keys, their limits, browser sessions, and the guard in front of every view.

    clipstack-keys ── writes ──▶ <data>/access/keys.json ── reloaded on change ──┐
                                                                                 ▼
    request ── Authorization: Bearer | X-API-Key | session cookie ──▶ guard ──▶ limits ──▶ view, with the key as owner

nginx asks the key check (key_check.py) before it receives an upload, so a client without a key cannot fill its disk.
The guard checks the request itself again, so security does not depend on nginx's check.
"""
