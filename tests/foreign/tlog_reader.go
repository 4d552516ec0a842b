// tlog_reader verifies a log in the form of C2SP tlog-tiles with code that is not ours: the packages note and
// tlog of Go's checksum database. Only paths, entry bundles and cosignatures, which those do not know, are here.
//
//	tlog_reader LOCATION VERIFIER_KEY [WITNESS_KEY...]
//
// LOCATION is a folder with checkpoint, tile/ and tile/entries/, or the URL of one, http://127.0.0.1:8480/tlog.
// The environment variable CITADEL_TLOG_KEY, where set, is sent as a bearer key. It checks the checkpoint's
// signatures, every tile against the root, every entry against its leaf hash, a proof of each entry, and the
// consistency with smaller trees. Prints "verified N entries", or exits with 1 and the reason.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight     = 8
	tileWidth      = 1 << tileHeight
	bundleBytesMax = tileWidth * (2 + 65535)
)

// source gives the resource at a path below the log's prefix.
type source func(path string) ([]byte, error)

func openSource(location string) source {
	if !strings.HasPrefix(location, "http://") && !strings.HasPrefix(location, "https://") {
		return func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(location, path)) }
	}
	client := &http.Client{Timeout: 30 * time.Second}
	return func(path string) ([]byte, error) {
		request, err := http.NewRequest("GET", strings.TrimSuffix(location, "/")+"/"+path, nil)
		if err != nil {
			return nil, err
		}
		if key := os.Getenv("CITADEL_TLOG_KEY"); key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("GET %s: %s", path, response.Status)
		}
		return io.ReadAll(io.LimitReader(response.Body, bundleBytesMax+1))
	}
}

// tiles is a tlog.TileReader whose paths are those of tlog-tiles: Go's tile/8/0/000 is tile/0/000 there.
type tiles struct {
	read  source
	cache map[tlog.Tile][]byte
}

func (t *tiles) Height() int { return tileHeight }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range wanted {
		data, found := t.cache[tile]
		if !found {
			var err error
			path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
			if data, err = t.read(path); err != nil {
				return nil, err
			}
		}
		out = append(out, data)
	}
	return out, nil
}

// SaveTiles is called with tiles that were checked against the root.
func (t *tiles) SaveTiles(checked []tlog.Tile, data [][]byte) {
	for i, tile := range checked {
		t.cache[tile] = data[i]
	}
}

// cosigner is a note.Verifier of cosignature/v1.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("a witness key has three parts")
	}
	material, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(material) != 1+ed25519.PublicKeySize || material[0] != 4 {
		return nil, errors.New("a witness key is of type 4")
	}
	digest := sha256.Sum256([]byte(parts[0] + "\n" + string(material)))
	id := binary.BigEndian.Uint32(digest[:])
	if parts[1] != fmt.Sprintf("%08x", id) {
		return nil, errors.New("a witness key has the id of another")
	}
	return &cosigner{parts[0], id, material[1:]}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.id }
func (c *cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	return ed25519.Verify(c.key, []byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)), signature[8:])
}

func openCheckpoint(file []byte, vkey string, witnessKeys []string) (tlog.Tree, error) {
	log, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifiers := []note.Verifier{log}
	for _, key := range witnessKeys {
		witness, err := newCosigner(key)
		if err != nil {
			return tlog.Tree{}, err
		}
		verifiers = append(verifiers, witness)
	}
	opened, err := note.Open(file, note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	if len(opened.Sigs) != len(verifiers) {
		return tlog.Tree{}, fmt.Errorf("%d of %d keys have signed the checkpoint", len(opened.Sigs), len(verifiers))
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != log.Name() {
		return tlog.Tree{}, errors.New("the checkpoint is of another log, or of another form")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, errors.New("the checkpoint has no size")
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// bundlePath is the path of the bundle of a tree of size entries that begins with the entry at first.
func bundlePath(first, size int64) (string, int) {
	width := tileWidth
	if size-first < tileWidth {
		width = int(size - first)
	}
	tile := tlog.Tile{H: tileHeight, L: -1, N: first / tileWidth, W: width}
	return "tile/entries/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/data/", tileHeight)), width
}

func splitBundle(bundle []byte) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("the bundle ends too early")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		entries = append(entries, bundle[2:end])
		bundle = bundle[end:]
	}
	return entries, nil
}

func checkBundle(read source, hashes tlog.HashReader, tree tlog.Tree, first int64) error {
	path, width := bundlePath(first, tree.N)
	bundle, err := read(path)
	if err != nil {
		return err
	}
	entries, err := splitBundle(bundle)
	if err != nil || len(entries) != width {
		return fmt.Errorf("%s: %d entries of %d: %v", path, len(entries), width, err)
	}
	var indexes []int64
	for i := range entries {
		indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
	}
	leaves, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		index := first + int64(i)
		leaf := tlog.RecordHash(entry)
		if !bytes.Equal(leaf[:], leaves[i][:]) {
			return fmt.Errorf("entry %d does not have the hash of its leaf", index)
		}
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
			return fmt.Errorf("entry %d: %v", index, err)
		}
	}
	return nil
}

func checkGrowth(hashes tlog.HashReader, tree tlog.Tree) error {
	for old := int64(1); old <= tree.N; old = old*2 + old%3 {
		root, err := tlog.TreeHash(old, hashes)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, old, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old, root); err != nil {
			return fmt.Errorf("from %d leaves: %v", old, err)
		}
	}
	return nil
}

func verify(location, vkey string, witnessKeys []string) (int64, error) {
	read := openSource(location)
	file, err := read("checkpoint")
	if err != nil {
		return 0, err
	}
	tree, err := openCheckpoint(file, vkey, witnessKeys)
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %v", err)
	}
	hashes := tlog.TileHashReader(tree, &tiles{read, map[tlog.Tile][]byte{}})
	for first := int64(0); first < tree.N; first += tileWidth {
		if err := checkBundle(read, hashes, tree, first); err != nil {
			return 0, err
		}
	}
	return tree.N, checkGrowth(hashes, tree)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: tlog_reader LOCATION VERIFIER_KEY [WITNESS_KEY...]")
		os.Exit(2)
	}
	count, err := verify(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlog_reader:", err)
		os.Exit(1)
	}
	fmt.Printf("verified %d entries\n", count)
}
