;; What WASI says of paths and flags, asked without a C library in between. It is given /data with
;; in.txt and sub/. The exit status is the number of the first check that came out otherwise.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "sub")
  (data (i32.const 110) "/data/in.txt")
  (data (i32.const 130) "../in.txt")
  (data (i32.const 150) "in.txt")
  (data (i32.const 170) "../data/in.txt")

  ;; Opens a path, of a length, from a folder, with flags, and expects an error number.
  (func $check (param $number i32) (param $folder i32) (param $path i32) (param $length i32)
      (param $flags i32) (param $expected i32)
    (call $open (local.get $folder) (i32.const 0) (local.get $path) (local.get $length)
      (i32.const 0) (i64.const 2) (i64.const 0) (local.get $flags) (i32.const 0))
    (if (i32.ne (local.get $expected)) (then (call $exit (local.get $number)))))

  (func (export "_start") (local $sub i32)
    ;; Descriptor 3 is /, 4 is /data. 2 is the flag for a folder; 63 is EPERM, 58 ENOTSUP.
    (call $open (i32.const 4) (i32.const 0) (i32.const 100) (i32.const 3)
      (i32.const 2) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0))
    (if (then (call $exit (i32.const 1))))
    (local.set $sub (i32.load (i32.const 0)))
    ;; An absolute path leaves every folder.
    (call $check (i32.const 2) (i32.const 3) (i32.const 110) (i32.const 12) (i32.const 0) (i32.const 63))
    (call $check (i32.const 3) (local.get $sub) (i32.const 110) (i32.const 12) (i32.const 0) (i32.const 63))
    ;; Dots lead out of a folder that was given, and out of no other.
    (call $check (i32.const 4) (local.get $sub) (i32.const 130) (i32.const 9) (i32.const 0) (i32.const 63))
    (call $check (i32.const 5) (i32.const 4) (i32.const 170) (i32.const 14) (i32.const 0) (i32.const 0))
    ;; Synchronous writes (2: DSYNC, 16: SYNC) are not done and not promised.
    (call $check (i32.const 6) (i32.const 4) (i32.const 150) (i32.const 6) (i32.const 0) (i32.const 0))
    (call $check (i32.const 7) (i32.const 4) (i32.const 150) (i32.const 6) (i32.const 2) (i32.const 58))
    (call $check (i32.const 8) (i32.const 4) (i32.const 150) (i32.const 6) (i32.const 16) (i32.const 58))))
