//! What developers use, in a folder of the host's.

use super::interpreters::command;
use super::table::Trial;

pub(crate) fn all() -> Vec<Trial> {
    vec![
        command(
            "git",
            "init, add, commit, branch, merge, log, fsck, gc, clone",
            "set -e; export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b \
             GIT_CONFIG_NOSYSTEM=1; git init -q -b main all; cd all; echo one > file; git add file; git commit -qm first; \
             git checkout -qb other; echo two > more; git add .; git commit -qm second; git checkout -q main; \
             git merge -q other; echo three >> file; git diff --stat | tail -n 1 | sed 's/^ //'; git commit -qam third; \
             git log --format=%s; git fsck 2>/dev/null; git gc -q; git clone -q . ../copy; cat ../copy/file; git status --short",
            "1 file changed, 1 insertion(+)\nthird\nsecond\nfirst\none\nthree",
        ),
        command(
            "sqlite3",
            "transactions, an index, the write-ahead log, vacuum",
            "set -e; sqlite3 data.db 'pragma journal_mode=wal; create table t(a integer primary key, b text); begin; \
             insert into t(b) select hex(randomblob(8)) from (with recursive c(x) as (select 1 union all select x+1 \
             from c where x<1000) select x from c); commit; create index i on t(b); select count(*) from t;'; \
             sqlite3 data.db 'delete from t where a>10; vacuum; pragma integrity_check; select max(a) from t;'",
            "wal\n1000\nok\n10",
        ),
        command(
            "python3",
            "the module sqlite3, two connections",
            "python3 -c '\nimport sqlite3\na = sqlite3.connect(\"two.db\"); b = sqlite3.connect(\"two.db\", timeout=0)\n\
             a.execute(\"create table t(x)\"); a.execute(\"begin immediate\"); a.execute(\"insert into t values(1)\")\n\
             try: b.execute(\"begin immediate\")\nexcept sqlite3.OperationalError as e: print(e)\n\
             a.commit(); print(b.execute(\"select * from t\").fetchall())'",
            "database is locked\n[(1,)]",
        ),
        command(
            "gcc",
            "compiles, links and runs a program",
            "set -e; printf '#include <stdio.h>\\nint main(void) { puts(\"hello\"); return 0; }\\n' > hello.c; \
             gcc -O2 -o hello hello.c; ./hello; gcc -static -o /tmp/hello hello.c; /tmp/hello",
            "hello\nhello",
        ),
        command(
            "make",
            "rules, in parallel",
            "set -e; printf 'all: a b\\n\\tcat a b\\n%%: %%.in\\n\\tsort $< > $@\\n' | sed s/%%/%/g > Makefile; \
             printf 'y\\nx\\n' > a.in; echo z > b.in; make -s -j2",
            "x\ny\nz",
        ),
    ]
}
