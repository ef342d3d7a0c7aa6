;; Imports a function that nobody offers.
(module
  (import "nobody" "offers_this" (func $nothing))
  (memory (export "memory") 1)
  (func (export "_start") (call $nothing)))
