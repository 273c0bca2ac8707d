"""The web application: hear the champion, correct it, and see how it came about.

    marks, downloads, calibration, corrections, champions   pure: what is shown, sent and accepted
    uploads, models, desk, known, correction_store          effects: decoding, models, S3
    accounts, security, pages, shell, server                the server: FastAPI, and Gradio in it

Bound to loopback it asks for no account; bound elsewhere it demands one. Knows nothing of Prefect.
"""
