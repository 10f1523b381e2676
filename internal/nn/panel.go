package nn

// lanes is the number of rows in a tile. Inside, a tile of features is a
// panel [F,lanes]: one feature of all rows lies together, so vectors run along
// the rows, layers need no padding to the vector length, and weights are read
// as they are. The rows that a last tile lacks are zeros on the way in and
// dropped on the way out.
const lanes = 32

// tiles is the number of tiles of a batch.
func tiles(batch int) int { return (batch + lanes - 1) / lanes }

// pad is n rounded up, so that the next array starts aligned again.
func pad(n int) int { return (n + 15) &^ 15 }

// shardOf is shard i's n floats of an array of padded ones.
func shardOf(s []float32, i, n int) []float32 { return s[i*pad(n):][:n:n] }
