"""Feedback: confirmed and corrected answers, and unsure ones, each kept with its file.

    page, API ── labels of a person ──▶ FeedbackStore ◀── unsure answers ── web workers, job worker
                                            │
                              <data>/feedback/clips/<id>/   source and clip.json: the truth
                              <data>/feedback-index-1.db    an index of them, which can be made again

`clipstack-models train --from-feedback` reads the folders.
"""
