"""Accounts and credentials for the HTTP API and the console, and the audit log.

An account acts on the data of one owner (`store.Users`), with the rights of its role. Its credentials are a
password and sessions, or API tokens; of tokens and sessions only a digest is stored.
"""
