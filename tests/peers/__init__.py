# SPDX-License-Identifier: BSD-2-Clause
"""Scripted SMTP peers: a target and a client that do exactly what a test tells them."""
