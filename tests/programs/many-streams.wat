;; Asks for standard output again and again and writes nothing.
(component
  (import "wasi:io/error@0.2.0" (instance $err (export "error" (type (sub resource)))))
  (alias export $err "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams (export "output-stream" (type (sub resource)))))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $out (type $o0))
    (export "output-stream" (type $o (eq $o0)))
    (export "get-stdout" (func (result (own $o))))))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core module $main
    (import "h" "get" (func $get (result i32)))
    (func (export "run") (result i32)
      (loop $on (drop (call $get)) (br $on))
      (i32.const 0)))
  (core instance $main (instantiate $main (with "h" (instance (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $r (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $r)))
