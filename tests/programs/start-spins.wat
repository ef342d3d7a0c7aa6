;; Loops for ever in its start function, which runs while the instance is being built, before any
;; export can be called. Deadlines must hold there too.
(module
  (memory (export "memory") 1)
  (func $spin (loop $again (br $again)))
  (start $spin)
  (func (export "_start")))
