;; Subscribes to standard output again and again and waits for nothing.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $pollable (type $p0))
    (export "pollable" (type $p (eq $p0)))
    (export "output-stream" (type $s (sub resource)))
    (export "[method]output-stream.subscribe" (func (param "self" (borrow $s)) (result (own $p))))))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $o0))
    (export "output-stream" (type $o (eq $o0)))
    (export "get-stdout" (func (result (own $o))))))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $subscribe (canon lower (func $streams "[method]output-stream.subscribe")))
  (core module $main
    (import "h" "get" (func $get (result i32)))
    (import "h" "subscribe" (func $subscribe (param i32) (result i32)))
    (func (export "run") (result i32) (local $stream i32)
      (local.set $stream (call $get))
      (loop $on (drop (call $subscribe (local.get $stream))) (br $on))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "h" (instance (export "get" (func $get)) (export "subscribe" (func $subscribe))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $r (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $r)))
