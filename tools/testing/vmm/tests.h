/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_H
#define TESTS_H

void test_moves(void);
void test_cancels(void);
void test_guards(int random_runs);
void test_refusals(void);
void test_commands(void);
void test_supervises(int random_runs);

#endif /* TESTS_H */
